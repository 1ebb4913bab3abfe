"""Reports as metrics that Prometheus reads."""


def render(report):
    """Metrics for Prometheus: one line for each statistic of each quantity."""
    lines = [f"robaudit_exit_code {report.exit_code}"]
    for name, divergence in report.divergences.items():
        for quantity, summary in divergence.summary.items():
            for statistic in ("mean", "p95", "max"):
                value = getattr(summary, statistic)
                labels = f'divergence="{name}",statistic="{statistic}"'
                if value is not None:
                    lines.append(f"robaudit_{quantity}{{{labels}}} {value:.9g}")
    return "\n".join(lines) + "\n"
