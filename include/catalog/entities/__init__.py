"""All entities, parents before children: the order in which they are found and written."""

from __future__ import annotations

from include.catalog.entities.alignments import ALIGNMENT, PER_SECTION_ALIGNMENT_PARAMETERS
from include.catalog.entities.annotations import (
    ANNOTATION,
    ANNOTATION_AUTHOR,
    ANNOTATION_FILE,
    ANNOTATION_METHOD_LINK,
    ANNOTATION_SHAPE,
)
from include.catalog.entities.datasets import DATASET, DATASET_AUTHOR, DATASET_FUNDING
from include.catalog.entities.depositions import DEPOSITION, DEPOSITION_AUTHOR, DEPOSITION_TYPE
from include.catalog.entities.frames import FRAME, FRAME_ACQUISITION_FILE, GAIN_FILE
from include.catalog.entities.runs import IDENTIFIED_OBJECT, RUN, TOMOGRAM_VOXEL_SPACING
from include.catalog.entities.tiltseries import PER_SECTION_PARAMETERS, TILTSERIES
from include.catalog.entities.tomograms import TOMOGRAM, TOMOGRAM_AUTHOR
from include.catalog.entity import Entity

OF_DEPOSITIONS: tuple[Entity, ...] = (DEPOSITION, DEPOSITION_AUTHOR, DEPOSITION_TYPE)

OF_DATASETS: tuple[Entity, ...] = (
    DATASET,
    DATASET_AUTHOR,
    DATASET_FUNDING,
    RUN,
    FRAME_ACQUISITION_FILE,
    FRAME,
    GAIN_FILE,
    TILTSERIES,
    PER_SECTION_PARAMETERS,
    ALIGNMENT,
    PER_SECTION_ALIGNMENT_PARAMETERS,
    IDENTIFIED_OBJECT,
    TOMOGRAM_VOXEL_SPACING,
    TOMOGRAM,
    TOMOGRAM_AUTHOR,
    ANNOTATION,
    ANNOTATION_SHAPE,
    ANNOTATION_FILE,
    ANNOTATION_AUTHOR,
    ANNOTATION_METHOD_LINK,
)

BY_TABLE = {entity.table: entity for entity in (*OF_DEPOSITIONS, *OF_DATASETS)}
