"""Legal forms and the numbers a company has in public registers, in each country's form.

The numbers look right and are made up; only the LEI carries correct check digits, since readers
are known to verify those.
"""

from sandbox.draw import Draw

_FORMS: dict[str, tuple[str, ...]] = {
    "DE": ("GmbH", "GmbH", "AG", "GmbH & Co. KG", "UG (haftungsbeschränkt)"),
    "AT": ("GmbH", "AG"),
    "CH": ("AG", "GmbH"),
    "FR": ("SAS", "SARL", "SA"),
    "BE": ("SRL", "SA"),
    "LU": ("S.à r.l.", "S.A."),
    "ES": ("S.L.", "S.A.", "S.L.U."),
    "MX": ("S.A. de C.V.",),
    "IT": ("S.r.l.", "S.p.A.", "S.n.c."),
    "NL": ("B.V.", "N.V."),
    "GB": ("Ltd", "Limited", "plc", "LLP"),
    "IE": ("Ltd", "DAC"),
    "US": ("Inc.", "LLC", "Corp."),
    "CA": ("Inc.", "Ltd."),
    "AU": ("Pty Ltd",),
    "SE": ("AB",),
    "NO": ("AS",),
    "DK": ("ApS", "A/S"),
    "FI": ("Oy",),
    "PL": ("sp. z o.o.", "S.A."),
    "BR": ("Ltda.", "S.A."),
    "JP": ("K.K.", "G.K."),
}
_ANY_FORM = ("Ltd", "S.A.")
_REGISTERS = {
    "DE": "Amtsgericht {city}, HRB #####",
    "AT": "FN 4#####a, Handelsgericht {city}",
    "CH": "CHE-1##.###.###",
    "FR": "RCS {city} 8## ### ###",
    "BE": "RPM {city} 0###.###.###",
    "ES": "Registro Mercantil de {city}, Tomo ####, Hoja B-1#####",
    "IT": "Registro Imprese di {city}, REA 1######",
    "NL": "KvK ########",
    "GB": "Companies House 0#######",
    "IE": "CRO 5#####",
    "US": "{region} File No. 5######",
}
_VATS = {
    "DE": "DE1########",
    "AT": "ATU1#######",
    "CH": "CHE-1##.###.### MWST",
    "FR": "FR## 8########",
    "BE": "BE 0###.###.###",
    "ES": "ESB########",
    "IT": "IT0##########",
    "NL": "NL8########B01",
    "GB": "GB 1## #### ##",
    "IE": "IE1######@",
}


def legal_form(draw: Draw, country: str) -> str:
    """Return the legal form of a company of that country."""
    return draw.pick("legal_form", _FORMS.get(country, _ANY_FORM))


def register_entry(draw: Draw, country: str, city: str, region: str) -> str:
    """Return the register and number as an imprint prints them."""
    template = _REGISTERS.get(country, "No. 1######")
    return draw.filled("register", template).format(city=city, region=region)


def vat_number(draw: Draw, country: str) -> str | None:
    """Return the VAT number, None where companies have none."""
    template = _VATS.get(country)
    return draw.filled("vat", template) if template else None


def lei(draw: Draw) -> str:
    """Return a Legal Entity Identifier with correct ISO 7064 check digits.

    >>> code = lei(Draw(1, "acme.example"))
    >>> len(code), int("".join(str(int(sign, 36)) for sign in code)) % 97
    (20, 1)
    """
    body = draw.filled("lei", "5299##" + "##@@##@@##@@")
    digits = "".join(str(int(sign, 36)) for sign in body + "00")
    return f"{body}{98 - int(digits) % 97:02d}"
