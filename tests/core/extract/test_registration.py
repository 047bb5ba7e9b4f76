"""Register and tax numbers as printed, country by country."""

import pytest

from resources.core.extract.registration import find_registration


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Amtsgericht Köln HRB 4711 B", ("HRB 4711 B",)),
        ("USt-IdNr.: DE 123456789", ("DE 123456789",)),
        ("VAT no. GB 123 4567 89", ("GB 123 4567 89",)),
        ("P. IVA 01234567890", ("P.IVA 01234567890",)),
        ("SIRET 732 829 320 00074", ("SIRET 732 829 320 00074",)),
        ("Company Registration No. 01234567", ("Company no. 01234567",)),
        ("KvK: 12345678", ("KvK 12345678",)),
        ("KVK-nummer 12345678", ("KvK 12345678",)),
        ("Registered in England and Wales No. 01234567", ("Company no. 01234567",)),
        ("Registered in Scotland: SC123456", ("Company no. SC123456",)),
        ("Firmenbuchnummer: FN 123456 a", ("FN 123456 a",)),
        ("UID: ATU12345678", ("ATU12345678",)),
        ("CHE-123.456.789 MWST", ("CHE-123.456.789",)),
        ("RCS Paris B 732 829 320", ("RCS Paris B 732 829 320",)),
        ("R.C.S. Lyon 732 829 320", ("R.C.S. Lyon 732 829 320",)),
        ("TVA FR 40 303 265 045", ("FR 40 303 265 045",)),
        ("NIP: 123-456-32-18, KRS 0000123456", ("NIP 123-456-32-18", "KRS 0000123456")),
        ("C.I.F.: B-12345678", ("NIF B-12345678",)),
        ("NIF 501 442 600", ("NIF 501 442 600",)),
        ("R.E.A. MI - 1234567", ("REA MI - 1234567",)),
        ("Org.nr: 556016-0680", ("Org.nr 556016-0680",)),
        ("CVR-nr. 12 34 56 78", ("CVR 12 34 56 78",)),
        ("Y-tunnus 1234567-8", ("Y-tunnus 1234567-8",)),
        ("IČO: 12345678, DIČ: CZ12345678", ("IČO 12345678", "DIČ CZ12345678")),
        ("ABN 51 824 753 556", ("ABN 51 824 753 556",)),
        ("CNPJ: 12.345.678/0001-95", ("CNPJ 12.345.678/0001-95",)),
        ("法人番号：1234567890123", ("法人番号 1234567890123",)),
        ("call 0123 456 78 90 or visit our registered office", ()),
        ("company no one knows", ()),
        ("a company with 250 people", ()),
    ],
)
def test_registrations(text, wanted):
    assert find_registration(text) == wanted
