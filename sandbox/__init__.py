"""An internet on loopback: provider APIs and company sites, with faults on order.

It is a process of its own and imports nothing of the product, so that what it answers can be
held against what the product made of it. `README.md` says how to run and script it.
"""
