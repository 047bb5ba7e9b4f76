"""Pages written for these tests."""

JSONLD_PAGE = b"""<!doctype html><html lang="de-DE"><head><meta charset="utf-8">
<title>Willkommen | Nordlicht Werkzeuge</title>
<meta name="description" content="Werkzeuge seit 1950">
<meta property="og:site_name" content="Nordlicht Werkzeuge">
<link rel="canonical" href="/start">
<script type="application/ld+json">
<!-- {"@context": "https://schema.org", "@graph": [
  {"@type": "WebSite", "name": "Startseite", "publisher": {"@id": "#org"}},
  {"@type": ["Organization", "Store"], "@id": "#org", "name": "Nordlicht Werkzeuge",
   "legalName": "Nordlicht Werkzeuge GmbH", "telephone": "+49 30 901820",
   "faxNumber": "+49 30 901821", "email": "mailto:Service@Nordlicht.example.de",
   "sameAs": ["https://www.linkedin.com/company/Nordlicht/"],
   "address": {"@id": "#addr"},},
  {"@type": "PostalAddress", "@id": "#addr", "streetAddress": "Hafenstr. 5",
   "postalCode": "20457", "addressLocality": "Hamburg", "addressCountry": "Deutschland"}
]} -->
</script></head><body>
<h1>Gutes  Werkzeug</h1><h2>Laden</h2><h4>nicht</h4>
<p>Rufen Sie uns an.</p></body></html>"""

IMPRINT_PAGE = """<html><body><h1>Impressum</h1>
<p>Angaben gem\xe4\xdf \xa7 5 TMG</p>
<p>Seeblick Optik GmbH &amp; Co. KG<br>Am M\xfchlenweg 12a<br>50667 K\xf6ln</p>
<p>Telefon: 0221 / 998877-0<br>Telefax: 0221 / 998877-20<br>Mobil: 0171 2345678</p>
<p>E-Mail: info [at] seeblick-optik [dot] de</p>
<p>Registergericht: Amtsgericht K\xf6ln, HRB 12345<br>USt-IdNr.: DE123456789</p>
</body></html>"""

SHOP_PAGE = b"""<html lang="en"><head><title>Home - Birch &amp; Bone Bakery</title></head><body>
<nav><a href="/about-us/#team">About us</a><a href="contact.html">Contact</a>
<a href="mailto:Hello@BirchBone.com?subject=hi">write</a>
<a href="tel:+1-212-736-5000">call</a>
<a href="https://facebook.com/sharer/sharer.php?u=x">share</a>
<a href="https://m.facebook.com/BirchBone?ref=1">fb</a>
<a href="https://twitter.com/intent/tweet?text=x">tweet</a>
<a href="https://twitter.com/BirchBone">tw</a>
<a href="javascript:void(0)">x</a><a href="ftp://x.com/y">ftp</a>
<span class="__cf_email__" data-cfemail="%s">[email&#160;protected]</span></nav>
<img src="/img/logo@2x.png" alt="Birch &amp; Bone logo">
<p>Orders: orders&#64;birchbone.com, press (at) birchbone (dot) com</p>
<p>Birch &amp; Bone Bakery<br>350 Fifth Avenue, Suite 12<br>New York, NY 10118</p>
<p>Phone (212) 736-3100 or 212.736.3101<br>Fax: (212) 736-3102</p>
<p>Open 08:00 - 18:00 since 01.02.2010, order number 2127363199</p>
<footer>\xc2\xa9 2012-2024 Birch &amp; Bone Bakery, Inc. All rights reserved.</footer>
</body></html>"""

MICRODATA_PAGE = b"""<html><body>
<div itemscope itemtype="http://schema.org/Dentist"><span itemprop="name">Quay Dental</span>
<div itemprop="address" itemscope itemtype="http://schema.org/PostalAddress">
<span itemprop="streetAddress">4 Harbour Road</span><span itemprop="addressLocality">Bristol</span>
<span itemprop="postalCode">BS1 5TY</span><meta itemprop="addressCountry" content="GB"></div>
<span itemprop="telephone">0117 496 0123</span></div>
<div itemscope itemtype="http://schema.org/Product"><b itemprop="name">Toothbrush</b></div>
</body></html>"""
