"""Data: which schema.org types are organisations.

Source: schema.org, Organization and its subtypes; the long tail of LocalBusiness is told by the
ending of its name.
"""

from typing import Final

_TYPES: Final = frozenset(
    """
    organization airline consortium cooperative corporation educationalorganization
    collegeoruniversity elementaryschool highschool middleschool preschool school fundingscheme
    governmentorganization librarysystem localbusiness medicalorganization ngo
    newsmediaorganization onlinebusiness onlinestore performinggroup dancegroup musicgroup
    theatergroup politicalparty project fundingagency researchproject researchorganization
    searchrescueorganization sportsorganization sportsteam workersunion animalshelter
    archiveorganization automotivebusiness autobodyshop autodealer autopartsstore autorental
    autorepair autowash gasstation motorcycledealer motorcyclerepair childcare dentist
    drycleaningorlaundry emergencyservice firestation hospital policestation employmentagency
    entertainmentbusiness adultentertainment amusementpark artgallery casino comedyclub
    movietheater nightclub financialservice accountingservice automatedteller bankorcreditunion
    insuranceagency foodestablishment bakery barorpub brewery cafeorcoffeeshop distillery
    fastfoodrestaurant icecreamshop restaurant winery governmentoffice postoffice
    healthandbeautybusiness beautysalon dayspa hairsalon healthclub nailsalon tattooparlor
    homeandconstructionbusiness electrician generalcontractor hvacbusiness housepainter
    locksmith movingcompany plumber roofingcontractor internetcafe legalservice attorney notary
    library lodgingbusiness bedandbreakfast campground hostel hotel motel resort skiresort
    vacationrental medicalbusiness communityhealth dermatology dietnutrition emergency geriatric
    gynecologic medicalclinic covidtestingfacility midwifery nursing obstetric oncologic
    optician optometric otolaryngologic pediatric pharmacy physician physiotherapy
    plasticsurgery podiatric primarycare psychiatric publichealth veterinarycare
    professionalservice radiostation realestateagent recyclingcenter selfstorage shoppingcenter
    sportsactivitylocation bowlingalley exercisegym golfcourse publicswimmingpool sportsclub
    stadiumorarena tenniscomplex store bikestore bookstore clothingstore computerstore
    conveniencestore departmentstore electronicsstore florist furniturestore gardenstore
    grocerystore hardwarestore hobbyshop homegoodsstore jewelrystore liquorstore
    mensclothingstore mobilephonestore movierentalstore musicstore officeequipmentstore
    outletstore pawnshop petstore shoestore sportinggoodsstore tireshop toystore wholesalestore
    televisionstation touristinformationcenter travelagency diagnosticlab
    """.split()
)
_ENDINGS: Final = ("business", "organization", "organisation", "corporation", "dealer", "agency")


def short_type(name: str) -> str:
    """Return a type without its vocabulary.

    >>> short_type("http://schema.org/LocalBusiness"), short_type("schema:Store")
    ('LocalBusiness', 'Store')
    """
    words = name[:300].split()
    return (
        words[0].rstrip("/#").replace("#", "/").replace(":", "/").rpartition("/")[2]
        if words
        else ""
    )


def is_organisation_type(name: str) -> bool:
    """Tell whether a type, with or without its vocabulary, is an organisation."""
    short = short_type(name).lower()
    return short in _TYPES or (len(short) < 60 and short.endswith(_ENDINGS))
