"""Data: words that name a number's kind, and what looks like a telephone number and is none."""

import re
from typing import Final

NOT_A_PHONE: Final = re.compile(
    r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}\b.*|"  # a date
    r"(?:19|20)\d\d\s?[^\d]\s?(?:19|20)\d\d|"  # a span of years
    r"(?:19|20)\d{6}|"
    r"\d{1,3}(?:\.\d{3}){2,5}|"  # a large number with thousands separated
    r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}|"  # an IP address
    r"\d{1,3}\.\d{4,}|\d+\.\d\d|"  # a coordinate, a price
    r"[01]?\d[.:]?\d{0,2}\s?[-\u2013]\s?\d?\d[.:]?\d\d"  # opening hours
)
IS_FAX: Final = (
    r"(?:tele|tél[ée]|telé)?fax|facsimile|télécopie(?:ur)?|telecopie(?:ur)?|факс|faks|传真|傳真|"
    r"ファックス|\bF(?=\s?[:.]|\s\Z)"
)
IS_MOBILE: Final = (
    r"mobiles?\b|mobil(?:e|telefon|funk|nr)?\b|\bcell(?:ulare|phone)?\b|handy|portable|móvil|movil|"
    r"telemóvel|celular|komórk|\bgsm\b|\bmob\b|携帯|手机"
)
IS_PHONE: Final = (
    r"\btele?f?(?:on|oon|fon|ef|éfono|efono|efone)?o?\b|t[ée]l(?:[ée]phone)?\b|phone|"
    r"\bph\b|\bcall\b|\bfon\b|ring oss|hotline|dial\b|toll.?free|\bT(?=\s?[:.]|\s\Z)|"
    r"\bP(?=\s?[:.])|тел|電話|电话|puhelin|\btlf\b|växel|contact (?:us|number|no)|whatsapp|"
    r"helpline|freephone"
)
LABEL: Final = re.compile(f"(?P<fax>{IS_FAX})|(?P<mobile>{IS_MOBILE})|(?P<phone>{IS_PHONE})", re.I)
FAX_AFTER: Final = re.compile(
    rf"[ \t]{{0,2}}[-(\[,\u2013]?[ \t]{{0,2}}(?:{IS_FAX})(?![\s:.]{{0,3}}[\d(+])", re.I
)
OTHER_NUMBER: Final = re.compile(
    r"(?:\b(?:vat|ust|uid|hr[ab]|iban|bic|siret|siren|rcs|isbn|issn|abn|acn|kvk|btw|tva|nif|cif|"
    r"nip|regon|krs|cnpj|cpf|cvr|ein|sku|ico|dic|p\.?\s?iva|partita iva|c\.?f|account|konto|kto|"
    r"reg(?:istration|istered|istrada)?|company|charity|order|licen[cs]e|permit|invoice|item|part|"
    r"model|serial|lat|lng|long|org|nr|no|id|number|nummer|numero)\b[\s.:#-]{0,3}){1,3}\Z|[#$€£¥]\s?\Z",
    re.I,
)
NOISE: Final = re.compile(
    r"(?:\b\d[ ,|]{1,3}){5}|"  # numbered pages
    r"\b\d{5}\s?[-\u2010-\u2015]\s?\d{5}\b|"  # a span of postcodes
    r"\b\d{1,3}/\d{1,3}/\d{1,3}\b"  # sizes
)
NUMBER_OF_PHONE: Final = re.compile(
    r"(?:phone|tel|fax|contact|call|mobile|toll)[^\n]{0,14}\Z", re.I
)
