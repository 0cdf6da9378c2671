"""The seven stages, in the order in which data flows."""

from tasks.stages.base import Stage
from tasks.stages.detect import DetectStage
from tasks.stages.distill import DistillStage
from tasks.stages.ingest import IngestStage
from tasks.stages.reinforce import ReinforceStage
from tasks.stages.relabel import RelabelStage
from tasks.stages.report import ReportStage
from tasks.stages.teach import TeachStage

STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        IngestStage(),
        TeachStage(),
        DetectStage(),
        RelabelStage(),
        ReinforceStage(),
        DistillStage(),
        ReportStage(),
    )
}
