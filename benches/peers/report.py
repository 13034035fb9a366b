"""A record as a page of tables."""

from itertools import groupby

DISTURBED_CPUS = 0.9

TITLES = {
    "spmm": "Products W[M,K] X[K,N], f32, microseconds",
    "conv": "Convolutions, f32, microseconds",
    "models": "Networks, f32, batch 1, microseconds",
}


def markdown(record):
    machine = record["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    parts = groupby(record["cases"], key=lambda case: case["part"])
    page = [
        f"# {record['date']}, {machine['cpu']}",
        "",
        f"{record['rounds']} rounds. {versions}.",
        f"CPU features: {' '.join(machine['features'])}.",
        "",
        "A cell is the median over the rounds, the spread of the rounds (10th to 90th percentile)",
        "and the speed relative to the best dense peer of the case. Where a problem was put to an",
        "engine in several forms, the fastest is shown. GFLOP/s count the zeros, and are of the",
        "fastest cell of the row. An engine of one thread that had less than 90 % of its core",
        "has a *: other programs disturbed it.",
    ]
    for part, cases in parts:
        page += ["", f"## {TITLES[part]}", "", *table(list(cases))]
    return "\n".join(page) + "\n"


def table(cases):
    engines = list(dict.fromkeys(r["engine"] for case in cases for r in case["results"]))
    yield f"| case | weights | {' | '.join(engines)} | GFLOP/s | core's peak |"
    yield "|---|---|" + "---|" * (len(engines) + 2)
    for case in cases:
        for weights, results in by_weights(case["results"]).items():
            best = fastest_per_engine(results)
            cells = [cell(best.get(engine), case["threads"]) for engine in engines]
            rate, peak = throughput(case, best.values()), number(case["peak_gflops"])
            yield f"| {case['name']} | {weights} | {' | '.join(cells)} | {rate} | {peak} |"


def by_weights(results):
    """Results of the same weights, in the order of the first of each."""
    groups = {}
    for result in results:
        label = "dense"
        if result["sparsity"]:
            label = f"{100 * result['sparsity']:g} % {result['pattern']}"
        groups.setdefault(label, []).append(result)
    return groups


def fastest_per_engine(results):
    best = {}
    for result in results:
        known = best.setdefault(result["engine"], result)
        if result["median_us"] < known["median_us"]:
            best[result["engine"]] = result
    return best


def cell(result, threads):
    if result is None:
        return "–"
    disturbed = threads == 1 and (result["cpus"] or 1) < DISTURBED_CPUS
    text = f"{number(result['median_us'])}{'*' * disturbed} ±{50 * result['spread']:.0f} %"
    if result["speedup"] is not None:
        text += f", {result['speedup']:.2f}x"
    return f"{text} ({result['form']})" if result["form"] else text


def throughput(case, results):
    if case["flops"] is None:
        return "–"
    return number(case["flops"] / min(result["median_us"] for result in results) / 1e3)


def number(value):
    """Three digits at least, and no more than the noise."""
    if value is None:
        return "–"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"
