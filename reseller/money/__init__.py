"""Pure money: prices, ledger rules, balances and holds. No I/O, no clock, no floats."""
