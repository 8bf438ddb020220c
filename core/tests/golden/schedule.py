#!/usr/bin/env python3
"""Golden values of the noise schedules, as Rust.

Written from the papers' definitions with 60 decimal digits and no knowledge
of the Rust code: betas first, alpha_bar as their product.

    python3 schedule.py

prints the tables LINEAR and COSINE of ../schedule.rs.
"""

from decimal import Decimal, getcontext

getcontext().prec = 60

T = 1000
SHOWN = (1, 2, 10, 100, 500, 999, 1000)


def arctan_inverse(n):
    """arctan(1/n)."""
    power = Decimal(1) / n
    total, k = power, 1
    while abs(power) > Decimal(10) ** -62:
        power /= -n * n
        k += 2
        total += power / k
    return total


# Machin 1706.
PI = 4 * (4 * arctan_inverse(5) - arctan_inverse(239))


def cos(x):
    term, total, k = Decimal(1), Decimal(1), 0
    while abs(term) > Decimal(10) ** -62:
        k += 2
        term *= -x * x / (k * (k - 1))
        total += term
    return total


def linear():
    start, end = Decimal("0.0001"), Decimal("0.02")
    return [start + (end - start) * (t - 1) / (T - 1) for t in range(1, T + 1)]


def cosine():
    s = Decimal("0.008")

    def f(t):
        return cos((Decimal(t) / T + s) / (1 + s) * PI / 2) ** 2

    return [min(1 - f(t) / f(t - 1), Decimal("0.999")) for t in range(1, T + 1)]


def table(name, betas):
    print(f"const {name}: [(u16, f64, f64); {len(SHOWN)}] = [")
    alpha_bar = Decimal(1)
    for t, beta in enumerate(betas, 1):
        previous, alpha_bar = alpha_bar, alpha_bar * (1 - beta)
        if t in SHOWN:
            posterior = (1 - previous) / (1 - alpha_bar) * beta
            # float's repr is the shortest that reads back as the nearest.
            print(f"    ({t}, {float(alpha_bar)!r}, {float(posterior)!r}),")
    print("];")


table("LINEAR", linear())
table("COSINE", cosine())
