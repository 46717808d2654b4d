"""The HTTP face: what travels, in which form, guarded how. It decides nothing that a flow or a rule could."""
