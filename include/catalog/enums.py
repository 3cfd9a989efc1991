"""The words that some columns of the catalog may hold.

Stored as varchar, as long as the longest word, without a check in the database: who writes checks them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class AnnotationFileSource(StrEnum):
    """Who made an annotation file."""

    DATASET_AUTHOR = "dataset_author"
    COMMUNITY = "community"
    PORTAL_STANDARD = "portal_standard"


class AlignmentMethod(StrEnum):
    """How a tilt series was aligned."""

    PROJECTION_MATCHING = "projection_matching"
    PATCH_TRACKING = "patch_tracking"
    FIDUCIAL_BASED = "fiducial_based"
    SIMULATED = "simulated"


class AlignmentType(StrEnum):
    """Whether an alignment covers the whole volume."""

    LOCAL = "LOCAL"
    GLOBAL = "GLOBAL"


class AnnotationMethodType(StrEnum):
    """How an annotation was made."""

    MANUAL = "manual"
    AUTOMATED = "automated"
    HYBRID = "hybrid"
    SIMULATED = "simulated"


class AnnotationShapeType(StrEnum):
    """What an annotation consists of."""

    SEGMENTATION_MASK = "SegmentationMask"
    ORIENTED_POINT = "OrientedPoint"
    POINT = "Point"
    INSTANCE_SEGMENTATION = "InstanceSegmentation"
    INSTANCE_SEGMENTATION_MASK = "InstanceSegmentationMask"
    MESH = "Mesh"
    GLOBAL_CAPTION = "GlobalCaption"
    ANNOTATION_CAPTION = "AnnotationCaption"


class MethodLinkType(StrEnum):
    """What a link of an annotation's method leads to."""

    DOCUMENTATION = "documentation"
    MODELS_WEIGHTS = "models_weights"
    OTHER = "other"
    SOURCE_CODE = "source_code"
    WEBSITE = "website"


class DepositionKind(StrEnum):
    """What a deposition brings."""

    ANNOTATION = "annotation"
    DATASET = "dataset"
    TOMOGRAM = "tomogram"


class SampleType(StrEnum):
    """What was imaged."""

    CELL = "cell"
    CELL_LINE = "cell_line"
    IN_SILICO = "in_silico"
    IN_VITRO = "in_vitro"
    ORGANELLE = "organelle"
    ORGANISM = "organism"
    ORGANOID = "organoid"
    OTHER = "other"
    PRIMARY_CELL_CULTURE = "primary_cell_culture"
    TISSUE = "tissue"
    VIRUS = "virus"


class MicroscopeManufacturer(StrEnum):
    """Who built the microscope; SIMULATED for none."""

    FEI = "FEI"
    TFS = "TFS"
    JEOL = "JEOL"
    SIMULATED = "SIMULATED"


class FiducialAlignmentStatus(StrEnum):
    """Whether fiducials guided the alignment of a tomogram."""

    FIDUCIAL = "FIDUCIAL"
    NON_FIDUCIAL = "NON_FIDUCIAL"


class TomogramProcessing(StrEnum):
    """What was done to a tomogram after its reconstruction."""

    DENOISED = "denoised"
    FILTERED = "filtered"
    RAW = "raw"
    FILTERED_EVEN = "filtered_even"
    FILTERED_ODD = "filtered_odd"


class ReconstructionMethod(StrEnum):
    """How a tomogram was reconstructed."""

    SART = "SART"
    FOURIER_SPACE = "Fourier_Space"
    SIRT = "SIRT"
    WBP = "WBP"
    UNKNOWN = "Unknown"


class FileStatus(StrEnum):
    """State of an entry of the unused table ``file``."""

    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    PENDING = "PENDING"


class FileProtocol(StrEnum):
    """How a file of the unused table ``file`` is reached."""

    S3 = "s3"
    HTTPS = "https"


class FileUploadClient(StrEnum):
    """What uploaded a file of the unused table ``file``."""

    BROWSER = "browser"
    CLI = "cli"
    S3 = "s3"
    BASESPACE = "basespace"


ENUM_COLUMNS: Mapping[tuple[str, str], type[StrEnum]] = {
    ("alignment", "alignment_method"): AlignmentMethod,
    ("alignment", "alignment_type"): AlignmentType,
    ("annotation", "method_type"): AnnotationMethodType,
    ("annotation_file", "source"): AnnotationFileSource,
    ("annotation_method_link", "link_type"): MethodLinkType,
    ("annotation_shape", "shape_type"): AnnotationShapeType,
    ("dataset", "sample_type"): SampleType,
    ("deposition_type", "type"): DepositionKind,
    ("tiltseries", "microscope_manufacturer"): MicroscopeManufacturer,
    ("tomogram", "fiducial_alignment_status"): FiducialAlignmentStatus,
    ("tomogram", "processing"): TomogramProcessing,
    ("tomogram", "reconstruction_method"): ReconstructionMethod,
}
"""Table and column → the words it may hold, for the tables that are imported."""


def longest(words: type[StrEnum]) -> int:
    """Length of the longest word: the width of its column."""
    return max(len(word) for word in words)
