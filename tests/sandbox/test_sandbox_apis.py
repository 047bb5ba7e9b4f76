"""The provider APIs answer as their contracts say, and agree with the truth."""

import json
from urllib.parse import quote, urlencode

import pytest

PDL = "api.peopledatalabs.com"
WIKIDATA = "query.wikidata.org"
REGISTRY = "rdap.sandbox-registry.net"
KEY = {"X_Api_Key": "k"}


def enrich(sandbox, domain, **headers):
    return sandbox.ask(f"/v5/company/enrich?website={domain}", host=PDL, **(headers or KEY))


def sparql(sandbox, query, **headers):
    path = "/sparql?" + urlencode({"query": query, "format": "json"})
    return sandbox.ask(path, host=WIKIDATA, **(headers or {"User_Agent": "test (a@b.example)"}))


@pytest.fixture(scope="module")
def contract(request):
    from pathlib import Path

    file = (
        Path(__file__).resolve().parents[3]
        / "shared/data/contracts/people_data_labs/pdl-specs.official.openapi.json"
    )
    if not file.is_file():
        pytest.skip("the contracts (../shared/data/contracts beside the repository) are absent")
    return json.loads(file.read_text())


def without_nulls(value):
    """Drop nulls: PDL's pages say unknown fields are null, its OpenAPI file does not allow it."""
    if isinstance(value, dict):
        return {name: without_nulls(one) for name, one in value.items() if one is not None}
    return value


def test_pdl_matches_satisfy_the_official_schema(sandbox, contract):
    import jsonschema

    schema = {
        "$ref": "#/components/schemas/Company",
        "components": contract["components"],
    }
    validator = jsonschema.Draft4Validator(schema)
    checked = 0
    for index in range(60):
        reply = enrich(sandbox, f"contract{index}.example")
        if reply.status == 200:
            validator.validate(without_nulls(reply.json()))
            checked += 1
    assert checked > 25


def test_pdl_says_what_is_true_and_bills_the_match(sandbox):
    truth = sandbox.find(lambda one: one["providers"]["pdl"] and one["social"].get("linkedin"))
    reply = enrich(sandbox, f"https://www.{truth['domain']}/")
    found = reply.json()
    assert reply.status == found["status"] == 200
    assert found["likelihood"] >= 2
    assert found["display_name"] == truth["name"]
    assert found["name"] == truth["name"].lower()
    assert found["employee_count"] == truth["employees"]
    assert found["location"]["locality"] == truth["address"]["city"].lower()
    assert found["website"] == truth["domain"]
    assert found["linkedin_url"].startswith("linkedin.com/company/")
    assert reply.headers["x-call-credits-spent"] == "1"
    assert json.loads(reply.headers["x-ratelimit-remaining"])["minute"] > 0
    assert "T" in reply.headers["x-ratelimit-reset"]
    calls = sandbox.calls()
    assert calls["calls"]["pdl"] == calls["billed"]["pdl"] == {truth["domain"]: 1}


def test_pdl_does_not_bill_what_it_does_not_know(sandbox):
    truth = sandbox.find(lambda one: not one["providers"]["pdl"])
    reply = enrich(sandbox, truth["domain"])
    assert reply.status == 404
    assert reply.json()["error"]["type"] == "not_found"
    assert reply.headers["x-call-credits-spent"] == "0"
    assert sandbox.calls()["calls"]["pdl"] == {truth["domain"]: 1}
    assert sandbox.calls()["billed"]["pdl"] == {}


@pytest.mark.parametrize(
    ("headers", "status", "kind"),
    [
        ({"Accept": "*/*"}, 401, "authentication_error"),
        ({"X_Api_Key": "wrong"}, 401, "authentication_error"),
        ({"X_Api_Key": "spent"}, 402, "payment_required"),
    ],
)
def test_pdl_refuses_bad_keys_in_its_own_form(sandbox, headers, status, kind):
    reply = enrich(sandbox, "acme.example", **headers)
    assert reply.status == status
    assert reply.json() == {"status": status, "error": reply.json()["error"]}
    assert reply.json()["error"]["type"] == kind
    assert sandbox.calls()["billed"]["pdl"] == {}


def test_pdl_demands_something_to_look_up(sandbox):
    assert sandbox.ask("/v5/company/enrich", host=PDL, **KEY).status == 400
    assert sandbox.ask("/v5/company/enrich", host=PDL, method="POST", body="", **KEY).status == 405


def bulk(sandbox, requests, path="/v5/company/enrich/bulk", host=PDL):
    body = json.dumps({"requests": requests})
    return sandbox.ask(path, host=host, method="POST", body=body, **KEY)


def test_pdl_bulk_answers_each_item_and_bills_the_matches(sandbox):
    known = sandbox.find(lambda one: one["providers"]["pdl"])["domain"]
    unknown = sandbox.find(lambda one: not one["providers"]["pdl"])["domain"]
    reply = bulk(
        sandbox,
        [
            {"params": {"website": known}, "metadata": {"row": 1}},
            {"params": {"website": unknown}, "metadata": {"row": 2}},
            {"params": {}},
        ],
    )
    items = reply.json()
    assert [item["status"] for item in items] == [200, 404, 400]
    assert [item.get("metadata") for item in items] == [{"row": 1}, {"row": 2}, None]
    assert items[0]["website"] == known
    assert reply.headers["x-call-credits-spent"] == "1"
    calls = sandbox.calls()
    assert calls["calls"]["pdl"] == {known: 1, unknown: 1}
    assert calls["billed"]["pdl"] == {known: 1}
    assert calls["requests"]["pdl"] == 1


def test_pdl_bulk_takes_1_to_100_items(sandbox):
    one = {"params": {"website": "acme.example"}}
    assert bulk(sandbox, []).status == 400
    assert bulk(sandbox, [one] * 101).status == 400
    assert len(bulk(sandbox, [one] * 100).json()) == 100


def test_pdl_finds_a_listed_company_by_its_name(start, tmp_path):
    file = tmp_path / "list.tsv"
    rows = "".join(f"shop{n}.example\tShop Number {n}\tDE\n" for n in range(20))
    file.write_text("website\tcompany_name\tcountry\n" + rows)
    sandbox = start("--domains", str(file))
    truth = next(
        one
        for one in (sandbox.truth(f"shop{n}.example") for n in range(20))
        if one["providers"]["pdl"]
    )
    path = f"/v5/company/enrich?name={quote(truth['name'])}"
    assert sandbox.ask(path, host=PDL, **KEY).json()["website"] == truth["domain"]
    assert (truth["country"], truth["language"]) == ("DE", "de")


QUERY = """PREFIX wdt: <http://www.wikidata.org/prop/direct/>
SELECT ?item ?itemLabel ?website ?inception ?countryCode ?hqLabel ?employees ?lei WHERE {{
  VALUES ?website {{ {values} }}
  ?item wdt:P856 ?website . OPTIONAL {{ ?item wdt:P571 ?inception }}
  SERVICE wikibase:label {{ bd:serviceParam wikibase:language "en" }}
}}"""


def forms(domain):
    return f"<https://{domain}/> <https://www.{domain}/> <http://{domain}/>"


def test_wikidata_answers_the_companies_it_holds(sandbox):
    known = sandbox.find(lambda one: one["providers"]["wikidata"])
    unknown = sandbox.find(lambda one: not one["providers"]["wikidata"])
    values = f"{forms(known['domain'])} {forms(unknown['domain'])}"
    reply = sparql(sandbox, QUERY.format(values=values))
    assert reply.headers["Content-Type"].startswith("application/sparql-results+json")
    content = reply.json()
    assert content["head"]["vars"][:2] == ["item", "itemLabel"]
    (row,) = content["results"]["bindings"]
    value = {name: term["value"] for name, term in row.items()}
    assert value["item"] == f"http://www.wikidata.org/entity/{known['wikidata_id']}"
    assert value["itemLabel"] == known["name"]
    assert value["website"] == known["website"]
    assert value["inception"].startswith(known["inception"])
    assert value["countryCode"] == known["country"]
    assert value["hqLabel"] == known["address"]["city"]
    assert value["employees"] == str(known["employees"])
    assert value["lei"] == known["lei"]
    assert set(row) <= set(content["head"]["vars"])
    calls = sandbox.calls()
    assert calls["calls"]["wikidata"] == {known["domain"]: 1, unknown["domain"]: 1}
    assert not calls["billed"].get("wikidata")


def test_wikidata_answers_a_post_with_literals_and_no_iri_of_a_vocabulary(sandbox):
    known = sandbox.find(lambda one: one["providers"]["wikidata"])["domain"]
    query = f'SELECT ?item ?website {{ ?item <http://www.wikidata.org/prop/direct/P856> ?website \
FILTER(CONTAINS(STR(?website), "{known}")) }}'
    reply = sandbox.ask(
        "/sparql",
        host=WIKIDATA,
        method="POST",
        body=urlencode({"query": query}),
        Accept="application/sparql-results+json",
        User_Agent="test",
        Content_Type="application/x-www-form-urlencoded",
    )
    assert len(reply.json()["results"]["bindings"]) == 1
    assert sandbox.calls()["calls"]["wikidata"] == {known: 1}


def test_wikidata_takes_pairs_of_domain_and_website(sandbox):
    known = sandbox.find(lambda one: one["providers"]["wikidata"])
    domain = known["domain"]
    query = f'''SELECT ?domain ?site (SAMPLE(?l) AS ?industries) WHERE {{
        VALUES (?domain ?site) {{ ("{domain}" <https://{domain}/>)
                                  ("{domain}" <https://www.{domain}/>) }} }}'''
    content = sparql(sandbox, query).json()
    assert content["head"]["vars"] == ["domain", "site", "industries"]
    (row,) = content["results"]["bindings"]
    assert row["domain"]["value"] == domain
    assert row["site"] == {"type": "uri", "value": known["website"]}
    assert row["industries"]["value"] == known["industry"]["label"]


def test_wikidata_refuses_what_the_real_one_refuses(sandbox):
    query = QUERY.format(values=forms("acme.example"))
    assert sparql(sandbox, query, Accept="application/json").status == 403
    assert sparql(sandbox, "DESCRIBE <https://acme.example/>").status == 400
    many = " ".join(f"<https://d{index}.example/>" for index in range(501))
    too_many = QUERY.format(values=many)
    reply = sandbox.ask(
        "/sparql", host=WIKIDATA, method="POST", body=urlencode({"query": too_many}),
        User_Agent="test",
    )  # fmt: skip
    assert reply.status in (400, 500)


def test_wikidata_answers_xml_unless_json_is_asked_for(sandbox):
    path = "/sparql?" + urlencode({"query": QUERY.format(values=forms("acme.example"))})
    reply = sandbox.ask(path, host=WIKIDATA, User_Agent="test")
    assert reply.headers["Content-Type"].startswith("application/sparql-results+xml")
    assert reply.text.startswith("<?xml")


def test_rdap_bootstrap_leads_to_the_registry(sandbox):
    content = sandbox.ask("/rdap/dns.json", host="data.iana.org").json()
    assert content["version"] == "1.0"
    ((tlds, urls),) = content["services"]
    assert len(tlds) > 300
    assert {"com", "example", "de", "uk", "io"} <= set(tlds)
    assert urls == [f"https://{REGISTRY}/"]


def test_rdap_tells_a_registration_and_redacts_most_registrants(sandbox):
    def answer(wanted):
        truth = sandbox.find(wanted)
        return truth, sandbox.ask(f"/domain/{truth['domain']}", host=REGISTRY)

    truth, reply = answer(
        lambda one: one["providers"]["rdap"] and one["registration"]["is_redacted"]
    )
    content = reply.json()
    assert reply.headers["Content-Type"] == "application/rdap+json"
    assert content["objectClassName"] == "domain"
    assert content["ldhName"] == truth["domain"]
    dates = {event["eventAction"]: event["eventDate"] for event in content["events"]}
    assert dates["registration"] == truth["registration"]["registered"]
    assert dates["expiration"] == truth["registration"]["expires"]
    assert content["redacted"]
    assert truth["legal_name"] not in reply.text
    registrar = content["entities"][0]
    assert registrar["roles"] == ["registrar"]
    assert registrar["vcardArray"][1][1][3] == truth["registration"]["registrar"]

    truth, reply = answer(
        lambda one: one["providers"]["rdap"] and not one["registration"]["is_redacted"]
    )
    assert truth["legal_name"] in json.dumps(reply.json(), ensure_ascii=False)


def test_rdap_answers_the_error_object_for_what_is_not_registered(sandbox):
    truth = sandbox.find(lambda one: not one["providers"]["rdap"])
    reply = sandbox.ask(f"/domain/{truth['domain']}", host=REGISTRY)
    assert reply.status == reply.json()["errorCode"] == 404
    assert reply.headers["Content-Type"] == "application/rdap+json"
    assert sandbox.calls()["calls"]["rdap"] == {truth["domain"]: 1}


def test_apis_answer_alike_under_the_loopback_address(sandbox):
    known = sandbox.find(lambda one: one["providers"]["pdl"] and one["providers"]["rdap"])["domain"]
    by_host = enrich(sandbox, known).json()
    path = f"/_api/pdl/v5/company/enrich?website={known}"
    assert sandbox.ask(path, **KEY).json() == by_host
    by_host = sandbox.ask(f"/domain/{known}", host=REGISTRY).json()
    assert sandbox.ask(f"/_api/rdap/domain/{known}").json() == by_host
    assert sandbox.ask("/_api/rdap/rdap/dns.json").json()["services"]
    query = urlencode({"query": QUERY.format(values=forms(known)), "format": "json"})
    assert sandbox.ask(f"/_api/wikidata/sparql?{query}", User_Agent="test").status == 200
    assert bulk(sandbox, [{"params": {"website": known}}], "/_api/pdl/v5/company/enrich/bulk",
                host=f"127.0.0.1:{sandbox.port}").json()[0]["status"] == 200  # fmt: skip
    assert sandbox.calls()["calls"]["pdl"] == {known: 3}
