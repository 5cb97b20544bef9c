"""Tariffs of the warehouse."""

RAIL_LIMIT_KG = 640


def by_rail(weight_kg):
    """Whether a pallet is too heavy for the road."""
    return weight_kg > RAIL_LIMIT_KG


def storage_fee(days, pallets):
    # The first three days are free of charge.
    return max(0, days - 3) * pallets * 1.35
