"""Makes the golden layer errors of reconstruction, by the plainest NumPy that does what the papers say (2.4 was used).

    python make_goldens.py        # in this folder

`golden.json` holds weights W [6, 16], inputs X [40, 16], and for each method and pattern the error
tr((W - W') H (W - W')^T) with H = X^T X. Nothing here is fast, and no code is shared with Rust: a row of OBC inverts
the Gram matrix of what is left anew before each removal, SparseGPT inverts that of the columns to the right before
each column, least squares solves for the outputs X W^T themselves, and ALPS inverts G + rho I anew in each iteration.
"""

import itertools
import json

import numpy as np

ROWS, COLS, SAMPLES = 6, 16, 40
UNITS = {"unstructured": (1, 1), "2:4": (1, 4), "2x2": (2, 2), "1x4": (1, 4)}
PRUNED = {"unstructured": 58, "2:4": None, "2x2": 14, "1x4": 13}


def damped(gram):
    return gram + 0.01 * np.mean(np.diag(gram)) * np.eye(len(gram))


def units_of(pattern, cols=range(COLS)):
    """The members of each unit, row by row; single weights for 2:4."""
    r, c = (1, 1) if pattern == "2:4" else UNITS[pattern]
    for row, col in itertools.product(range(0, ROWS, r), range(min(cols), max(cols) + 1, c)):
        yield [(row + i, col + j) for i in range(r) for j in range(c)]


def lowest(pattern, scores):
    """The mask that keeps what scores highest."""
    mask = np.ones((ROWS, COLS), bool)
    if pattern == "2:4":
        for row, group in itertools.product(range(ROWS), range(0, COLS, 4)):
            order = np.argsort(scores[row, group : group + 4], kind="stable")
            mask[row, group + order[:2]] = False
        return mask
    units = sorted(units_of(pattern), key=lambda unit: sum(scores[at] for at in unit))
    for unit in units[: PRUNED[pattern]]:
        for at in unit:
            mask[at] = False
    return mask


def least_squares(w, gram, mask):
    """Rows of samples whose Gram matrix is the damped one stand for the inputs."""
    x = np.linalg.cholesky(damped(gram)).T
    fitted = np.zeros_like(w)
    for row in range(ROWS):
        kept = np.flatnonzero(mask[row])
        fitted[row, kept] = np.linalg.lstsq(x[:, kept], x @ w[row], rcond=None)[0]
    return fitted


def obc(w, gram, pattern):
    """All rows at once, the cheapest unit of all first: greedy, so it is the same as row after row."""
    h = damped(gram)
    w, mask = w.copy(), np.ones((ROWS, COLS), bool)

    def group(unit):
        row, col = unit[0]
        return mask[row, col // 4 * 4 : col // 4 * 4 + 4]

    def inverse(row):
        left = np.flatnonzero(mask[row])
        full = np.zeros((COLS, COLS))
        full[np.ix_(left, left)] = np.linalg.inv(h[np.ix_(left, left)])
        return full

    def loss(unit):
        cols = sorted({col for _, col in unit})
        inv = inverses[unit[0][0]]
        of_rows = [w[row, cols] for row in sorted({row for row, _ in unit})]
        return 0.5 * sum(own @ np.linalg.solve(inv[np.ix_(cols, cols)], own) for own in of_rows)

    count = ROWS * COLS // 2 if pattern == "2:4" else PRUNED[pattern]
    for _ in range(count):
        inverses = [inverse(row) for row in range(ROWS)]
        units = [unit for unit in units_of(pattern) if mask[unit[0]]]
        if pattern == "2:4":
            units = [unit for unit in units if group(unit).sum() > 2]
        unit = min(units, key=loss)
        cols = sorted({col for _, col in unit})
        for row in sorted({row for row, _ in unit}):
            inv = inverses[row]
            w[row] -= w[row, cols] @ np.linalg.solve(inv[np.ix_(cols, cols)], inv[cols])
            mask[row, cols] = False
            w[row, ~mask[row]] = 0
    return w


def sparsegpt(w, gram, pattern):
    h = damped(gram)
    w = w.copy()
    # [H restricted to the columns from j on]^-1, whose first row is that of U times U_jj.
    inverses = [np.linalg.inv(h[j:, j:]) for j in range(COLS)]
    pivots = np.array([inverse[0, 0] for inverse in inverses])
    mask = lowest(pattern, w**2 / pivots) if pattern != "2:4" else np.ones((ROWS, COLS), bool)
    for j in range(COLS):
        if pattern == "2:4" and j % 4 == 0:
            mask[:, j : j + 4] = lowest(pattern, w**2 / pivots)[:, j : j + 4]
        for row in range(ROWS):
            if not mask[row, j]:
                w[row, j:] -= w[row, j] / pivots[j] * inverses[j][0]
                w[row, j] = 0
    return w


def alps(w, gram, pattern):
    g = damped(gram)
    scale = np.sqrt(np.diag(g)) + 1e-8
    g = g / np.outer(scale, scale)
    dense = w * scale
    y = dense @ g
    first = lowest(pattern, dense**2)
    kept, rho, raised, lowerings = first.sum(), 0.1, False, 0
    b, d, v, previous = dense, dense * first, np.zeros_like(dense), first
    for iteration in range(1, 301):
        b = (y - v + rho * d) @ np.linalg.inv(g + rho * np.eye(COLS))
        mask = lowest(pattern, (b + v / rho) ** 2)
        d = (b + v / rho) * mask
        v = v + rho * (b - d)
        if iteration % 3:
            continue
        changed = (mask != previous).sum()
        previous = mask
        if changed / kept > 0.1:
            rho, raised = rho * 1.3, True
        elif changed / kept > 0.005:
            rho, raised = rho * 1.2, True
        elif changed and raised:
            rho *= 1.1
        elif raised or lowerings == 20:
            break
        else:
            rho, lowerings = rho / 5, lowerings + 1
            if changed:
                b, d, v = dense, dense * first, np.zeros_like(dense)
        if iteration > 30 and changed / kept < 0.0003:
            break
    return least_squares(w, gram, lowest(pattern, b**2))


def main():
    rng = np.random.default_rng(7)
    w = rng.standard_normal((ROWS, COLS)).round(4)
    x = (rng.standard_normal((SAMPLES, COLS)) @ rng.standard_normal((COLS, COLS))).round(4)
    gram = x.T @ x
    error = lambda found: float(np.trace((w - found) @ gram @ (w - found).T))
    golden = {"weights": w.tolist(), "inputs": x.tolist(), "errors": []}
    for pattern, pruned in PRUNED.items():
        mask = lowest(pattern, np.abs(w))
        found = {
            "masked": error(w * mask),
            "least-squares": error(least_squares(w, gram, mask)),
            "obc": error(obc(w, gram, pattern)),
            "sparsegpt": error(sparsegpt(w, gram, pattern)),
            "alps": error(alps(w, gram, pattern)),
        }
        golden["errors"].append({"pattern": pattern, "units": pruned or 0, **found})
    with open("golden.json", "w") as file:
        json.dump(golden, file)
        file.write("\n")


main()
