-- Asks for the gzipped home pages of many company sites in turn:
--   wrk -t1 -c64 -d10s -s sandbox/wrk_pages.lua http://127.0.0.1:PORT -- SITES
-- About 1.5 % of the sites do not exist and answer 404, and a third of them redirect when asked
-- without www., so only bare hosts that serve themselves would all be 200; the mix is as in a crawl.
local sites, at = 1000, 0

function init(args)
  if args[1] then sites = tonumber(args[1]) end
end

function request()
  at = at + 1
  local host = "bench" .. (at % sites) .. ".example"
  return wrk.format("GET", "/", { Host = host, ["Accept-Encoding"] = "gzip", ["User-Agent"] = "wrk" })
end
