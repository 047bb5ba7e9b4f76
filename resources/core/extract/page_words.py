"""Data: words that tell the kind of a page, in eleven languages, for paths and anchor texts.

English, German, French, Spanish, Italian, Portuguese, Dutch, Polish, Swedish, Japanese, Chinese.
Written in lower case without accents (as `fold` leaves them). A phrase counts only as a whole.
"""

from typing import Final

PAGE_WORDS: Final[dict[str, str]] = {
    "about": """
        about, about us, about the company, who we are, our story, our company, company,
        company profile, our history, our mission, profile, uber uns, ueber uns, ueberuns,
        wir uber uns, unternehmen, firma, firmenprofil, das sind wir, a propos,
        qui sommes nous, notre histoire, entreprise, l entreprise, societe, la societe,
        presentation, sobre nosotros, quienes somos, sobre, nosotros, acerca de, empresa,
        la empresa, nuestra historia, chi siamo, azienda, l azienda, la nostra storia, profilo,
        sobre nos, quem somos, a empresa, over ons, wie zijn wij, bedrijf, het bedrijf, over,
        bedrijfsinfo, o nas, o firmie, kim jestesmy, om oss, om foretaget, foretaget, om,
        vilka vi ar, 会社概要, 会社案内, 企業情報, 会社情報, 私たちについて, 关于我们,
        關於我們, 公司简介, 公司概况, 企业简介, 关于
    """,
    "contact": """
        contact, contact us, contacts, contactus, get in touch, locations, our locations,
        find us, where we are, how to find us, kontakt, kontaktieren sie uns, kontaktformular,
        anfahrt, standorte, standort, contactez nous, nous contacter, nous trouver,
        coordonnees, contacto, contactenos, contactanos, contactar, donde estamos, ubicacion,
        contatti, contattaci, contatto, dove siamo, contato, contactos, contate nos,
        fale conosco, onde estamos, contacteer ons, neem contact op, contactgegevens, locaties,
        skontaktuj sie, dane kontaktowe, kontakta oss, hitta hit, お問い合わせ, 問い合わせ,
        お問合せ, アクセス, 联系我们, 聯絡我們, 联系, 联系方式
    """,
    "team": """
        team, our team, the team, meet the team, people, our people, staff, our staff,
        leadership, management, board, board of directors, founders, executives,
        leadership team, unser team, das team, mitarbeiter, ansprechpartner, geschaftsfuhrung,
        geschaeftsfuehrung, vorstand, fuhrungsteam, equipe, notre equipe, l equipe, direction,
        dirigeants, equipo, nuestro equipo, directiva, il team, il nostro team, la squadra,
        chi lavora con noi, direzione, equipa, a equipe, nossa equipe, ons team, het team,
        medewerkers, directie, bestuur, zespol, nasz zespol, zarzad, ludzie, vart team,
        medarbetare, personal, ledning, styrelse, チーム, スタッフ, スタッフ紹介, 役員,
        役員紹介, 经营团队, 团队, 我们的团队, 管理团队
    """,
    "legal": """
        imprint, legal, legal notice, legal information, terms, terms of use, terms of service,
        terms and conditions, terms conditions, disclaimer, company information, privacy,
        privacy policy, impressum, anbieterkennzeichnung, agb, datenschutz, mentions legales,
        mention legale, informations legales, cgv, cgu, conditions generales, aviso legal,
        informacion legal, condiciones, note legali, informazioni legali, dati societari,
        condizioni, informacao legal, aviso juridico, termos, termos de uso, colofon,
        juridische informatie, algemene voorwaarden, voorwaarden, wettelijke vermeldingen,
        nota prawna, regulamin, informacje prawne, juridisk information, villkor,
        integritetspolicy, 特定商取引法に基づく表記, 特定商取引法, 利用規約, 法律声明,
        法律聲明, 使用条款
    """,
    "pricing": """
        pricing, prices, price, plans, plans and pricing, plans pricing, rates, fees,
        price list, preise, preisliste, tarife, konditionen, tarifs, tarif, prix, nos tarifs,
        precios, tarifas, planes, prezzi, listino, listino prezzi, tariffe, precos, planos,
        tabela de precos, prijzen, tarieven, prijslijst, cennik, ceny, priser, prislista, 料金,
        価格, 料金プラン, 价格, 價格, 定价, 报价
    """,
    "products": """
        products, product, services, our services, our products, solutions, what we do,
        service, portfolio, products and services, products services, offerings, platform,
        features, catalog, catalogue, industries, produkte, leistungen, dienstleistungen,
        losungen, loesungen, angebot, sortiment, unsere leistungen, produits, nos services,
        nos produits, prestations, offres, nos offres, productos, servicios, soluciones,
        nuestros servicios, catalogo, prodotti, servizi, soluzioni, i nostri servizi, produtos,
        servicos, solucoes, nossos servicos, producten, diensten, oplossingen, onze diensten,
        aanbod, produkty, uslugi, oferta, rozwiazania, produkter, tjanster, losningar,
        erbjudande, 製品, 製品情報, サービス, 事業内容, 商品, 产品, 产品中心, 服务, 產品,
        解决方案
    """,
    "careers": """
        careers, career, jobs, job, vacancies, work with us, join us, join our team,
        work for us, employment, hiring, open positions, karriere, stellenangebote, stellen,
        jobs karriere, ausbildung, arbeiten bei uns, carriere, carrieres, recrutement, emploi,
        emplois, nous rejoindre, rejoignez nous, offres d emploi, empleo, trabaja con nosotros,
        carreras, unete, ofertas de empleo, lavora con noi, carriera, posizioni aperte,
        carreira, carreiras, trabalhe conosco, recrutamento, vagas, vacatures, werken bij,
        werkenbij, praca, kariera, oferty pracy, dolacz do nas, jobba hos oss, lediga jobb,
        karriar, 採用, 採用情報, 求人, リクルート, 招聘, 加入我们, 人才招聘, 诚聘英才
    """,
    "press": """
        press, media, newsroom, news, press releases, press room, media center, media centre,
        media kit, presse, pressemitteilungen, aktuelles, neuigkeiten, medien, nachrichten,
        actualites, espace presse, communiques, salle de presse, prensa, noticias,
        sala de prensa, comunicados, stampa, comunicati stampa, notizie, area stampa,
        rassegna stampa, novita, imprensa, sala de imprensa, pers, nieuws, persberichten,
        prasa, aktualnosci, dla mediow, biuro prasowe, press och media, nyheter, pressrum,
        pressmeddelanden, ニュース, プレスリリース, お知らせ, 新闻, 新闻中心, 新聞, 媒体
    """,
}
KINDS: Final = tuple(PAGE_WORDS)
"""Kinds in the order in which they are worth a visit when scores tie."""

PHRASE_KINDS: Final[dict[str, str]] = {
    " ".join(phrase.split()): kind
    for kind, phrases in PAGE_WORDS.items()
    for phrase in phrases.split(",")
}

WELL_KNOWN_PATHS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "en": (("contact", "/contact"), ("about", "/about")),
    "de": (("legal", "/impressum"), ("contact", "/kontakt")),
    "fr": (("contact", "/contact"), ("legal", "/mentions-legales")),
    "es": (("contact", "/contacto"), ("legal", "/aviso-legal")),
    "it": (("contact", "/contatti"), ("about", "/chi-siamo")),
    "pt": (("contact", "/contato"), ("about", "/sobre")),
    "nl": (("contact", "/contact"), ("about", "/over-ons")),
    "pl": (("contact", "/kontakt"), ("about", "/o-nas")),
    "sv": (("contact", "/kontakt"), ("about", "/om-oss")),
    "ja": (("about", "/company"), ("contact", "/contact")),
    "zh": (("about", "/about"), ("contact", "/contact")),
}
"""By language: paths that a site's pages often have, the likeliest first."""

SKIPPED_WORDS: Final = frozenset(
    """
    login signin signup register logout account myaccount konto anmelden compte connexion cart
    basket warenkorb panier carrito carrello checkout kasse wishlist wp-admin wp-login.php
    wp-json calendar kalender calendrier calendario feed rss search suche recherche buscar cerca
    tag tags author print cgi-bin xmlrpc.php password forgot unsubscribe comment reply
    attachment cdn-cgi
    """.split()
)
SKIPPED_ENDINGS: Final = tuple(
    f".{each}"
    for each in [
        "pdf",
        "jpg",
        "jpeg",
        "png",
        "gif",
        "svg",
        "webp",
        "avif",
        "bmp",
        "ico",
        "tif",
        "tiff",
        "zip",
        "gz",
        "tar",
        "rar",
        "7z",
        "exe",
        "dmg",
        "msi",
        "apk",
        "doc",
        "docx",
        "xls",
        "xlsx",
        "ppt",
        "pptx",
        "odt",
        "ods",
        "csv",
        "txt",
        "xml",
        "json",
        "rss",
        "atom",
        "mp3",
        "mp4",
        "avi",
        "mov",
        "wmv",
        "webm",
        "ogg",
        "wav",
        "css",
        "js",
        "woff",
        "woff2",
        "ttf",
        "eot",
        "ics",
        "vcf",
        "eps",
        "ai",
        "psd",
        "swf",
        "bin",
        "iso",
    ]
)
