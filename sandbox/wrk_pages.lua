-- Asks for pages of many company sites, with gzip, in turn:
--   wrk -t1 -c64 -d10s -s sandbox/wrk_pages.lua http://127.0.0.1:PORT -- SITES
-- Each site is asked for its pages at the paths an English site may have; a 404 is small, so the
-- script asks for the home page (always there) unless the site's paths are given to it.
local sites, at = 1000, 0

function init(args)
  if args[1] then sites = tonumber(args[1]) end
end

function request()
  at = at + 1
  local host = "bench" .. (at % sites) .. ".example"
  return wrk.format("GET", "/", { Host = host, ["Accept-Encoding"] = "gzip", ["User-Agent"] = "wrk" })
end
