"""`python -m gender_cls.export`: write finished runs as files for other programs, which answer the same."""

from gender_cls.cli.command import run_command
from gender_cls.cli.folders import failing_alone, in_turn
from gender_cls.config.export import ExportConfig, Format
from gender_cls.errors import first_few, plural, require
from gender_cls.runs.run import fitted_runs
from gender_cls.system.extras import import_extra
from gender_cls.system.progress import working
from gender_cls.system.terminal import shortest, show


def export(config: ExportConfig) -> None:
    """Export each run that `run` names, one after the other.

    If there are several, one that fails does not stop the others; GenderClsError names those in the end.
    """
    runs = fitted_runs(config.folders)
    if Format.onnx in config.formats:
        for library in ("onnx", "onnxscript", "onnxruntime"):
            import_extra(library, "Exporting to ONNX")
    with working("Importing torch and other libraries"):
        from gender_cls.export.one_run import export_run
        from gender_cls.pages.exported import exported_on_screen
    failed: dict[str, str] = {}
    for run in in_turn(runs):
        with failing_alone(runs, failed, run.folder.name):
            parity = export_run(run, config)
            show("", *exported_on_screen(parity), f"Written: {shortest(run.exported)}")
    require(not failed, f"{plural(len(failed), 'export')} failed: {first_few(failed, 20)}; the reasons stand above.")


def main() -> None:
    """Export finished runs as the command line says."""
    run_command(
        export,
        "export",
        ExportConfig,
        instead_of_sweep="The folder of a sweep exports all its runs",
        when_interrupted="Nothing was written; the same command starts again.",
    )


if __name__ == "__main__":
    main()
