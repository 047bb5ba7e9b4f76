"""Data and patterns: legal forms in names.

Not in here: comparing names (`resources.core.names`).
"""

import re
from typing import Final

# Longest first, so that "GmbH & Co. KG" is not cut at "GmbH".
_FORMS: Final = (
    r"GmbH\s?&\s?Co\.?\s?(?:KGaA|KG|OHG)", r"AG\s?&\s?Co\.?\s?(?:KGaA|KG|OHG)",
    r"UG\s?\(haftungsbeschränkt\)", r"Gesellschaft mit beschränkter Haftung",
    r"Aktiengesellschaft", r"Sp\.\s?z\s?o\.\s?o\.", r"sp\.\s?z\s?o\.\s?o\.", r"Pty\.?\s?Ltd\.?",
    r"Pvt\.?\s?Ltd\.?", r"Pte\.?\s?Ltd\.?", r"Co\.,?\s?Ltd\.?", r"S\.?r\.?l\.?s\.?",
    r"S\.r\.l\.?", r"s\.r\.l\.?", r"S\.p\.A\.?", r"S\.p\.a\.?", r"S\.A\.R\.L\.?", r"S\.A\.S\.?",
    r"S\.L\.U\.?", r"S\.L\.?", r"S\.A\.U\.?", r"S\.A\.?", r"s\.r\.o\.", r"a\.s\.",
    r"S\.N\.C\.?", r"S\.a\.s\.?", r"B\.V\.(?!\w)", r"N\.V\.(?!\w)", r"d\.o\.o\.", r"GmbH",
    r"gGmbH", r"mbH", r"KGaA", r"UG", r"e\.\s?V\.", r"e\.\s?K\.", r"eG", r"OHG", r"GbR", r"AG",
    r"KG", r"SE", r"Incorporated", r"Inc\.?", r"L\.?L\.?C\.?", r"L\.?L\.?P\.?", r"Limited",
    r"Ltd\.?", r"LTD\.?", r"Corporation", r"Corp\.?", r"PLC", r"plc", r"P\.C\.", r"PLLC",
    r"SARL", r"SAS", r"SASU", r"EURL", r"SNC", r"SRL", r"Srl", r"srl", r"SpA", r"BV",
    r"NV", r"bv", r"nv", r"BVBA", r"SPRL", r"Lda\.?", r"Ltda\.?", r"ApS", r"A/S", r"AB", r"AS",
    r"Oyj", r"Oy", r"Kft\.?", r"Zrt\.?", r"SLU", r"SL", r"Sàrl", r"KK",
)  # fmt: skip
FORM: Final = r"(?:" + "|".join(_FORMS) + r")"
LEGAL_NAME: Final = re.compile(
    rf"(?<![\w&.@/-])(?P<name>[A-Z0-9ÄÖÜÀ-ÝŁŚŻА-Я«\"][^\n,;:|©®()<>]{{1,60}}?)[,\s]\s?(?P<form>{FORM})(?![\w@/-])"
)
CJK_LEGAL_NAME: Final = re.compile(
    r"(?:株式会社|有限会社|合同会社)[ \u3000]?[^\s、。,;:|()（）「」]{1,30}|"
    r"[^\s、。,;:|()（）「」]{1,30}(?:株式会社|股份有限公司|有限责任公司|有限公司)"
)
_FORM_WORDS: Final = frozenset(
    """
    GmbH gGmbH mbH KGaA UG eG OHG GbR AG KG SE Haftung Aktiengesellschaft e.V. V. e.K. K.
    Incorporated Inc LLC L.L.C LLP L.L.P Limited Ltd LTD Corporation Corp PLC plc P.C PLLC SARL
    SAS SASU EURL SNC SRL Srl srl SpA BV NV bv nv B.V N.V BVBA SPRL Lda Ltda ApS A/S AB AS
    Oyj Oy Kft Zrt SLU SL S.L S.L.U S.A S.A.U S.A.S S.A.R.L Sàrl KK S.r.l s.r.l S.r.l.s S.p.A
    S.p.a s.r.o a.s S.N.C S.a.s d.o.o o.o z.o.o
    """.split()
)
FORM_TOKENS: Final = frozenset(
    word + end for word in _FORM_WORDS for end in ("", ".", ",", ".,", ";", ")", "|")
)
"""Words, as text splits at white space, without which no legal name is looked for."""
ENDS_WITH_FORM: Final = re.compile(rf"[,\s]\s?{FORM}\Z")
