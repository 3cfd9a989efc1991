"""The catalog's tables: names, types and nullability of the portal's migrated database.

Flags have no server defaults, foreign keys no ON DELETE, and ``id`` carries an index beside its primary
key; all that is as consumers of the database know it. What is ours is one unique constraint per identity.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedColumn, mapped_column

from include.catalog.enums import (
    AlignmentMethod,
    AlignmentType,
    AnnotationFileSource,
    AnnotationMethodType,
    AnnotationShapeType,
    DepositionKind,
    FiducialAlignmentStatus,
    FileProtocol,
    FileStatus,
    FileUploadClient,
    MethodLinkType,
    MicroscopeManufacturer,
    ReconstructionMethod,
    SampleType,
    TomogramProcessing,
    longest,
)

NAMING_CONVENTION = {
    "pk": "pk_%(table_name)s",
    "ix": "ix_%(table_name)s_%(column_0_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
}
"""SQLAlchemy shortens what is over PostgreSQL's 63 characters and ends it with a digest."""

IDENTITIES: Mapping[str, tuple[str, ...]] = {
    "deposition": ("id",),
    "deposition_author": ("deposition_id", "name"),
    "deposition_type": ("deposition_id", "type"),
    "dataset": ("id",),
    "dataset_author": ("dataset_id", "name"),
    "dataset_funding": ("dataset_id", "funding_agency_name", "grant_id"),
    "run": ("dataset_id", "name"),
    "frame_acquisition_file": ("run_id", "s3_mdoc_path"),
    "frame": ("run_id", "acquisition_order"),
    "gain_file": ("run_id", "s3_file_path"),
    "tiltseries": ("run_id",),
    "per_section_parameters": ("frame_id", "run_id", "tiltseries_id"),
    "alignment": ("run_id", "deposition_id"),
    "per_section_alignment_parameters": ("alignment_id", "z_index"),
    "identified_object": ("run_id", "object_id"),
    "tomogram_voxel_spacing": ("run_id", "voxel_spacing"),
    "tomogram": (
        "deposition_id",
        "processing",
        "processing_software",
        "reconstruction_method",
        "run_id",
        "tomogram_voxel_spacing_id",
    ),
    "tomogram_author": ("tomogram_id", "name"),
    "annotation": ("run_id", "deposition_id", "annotation_ingest_id"),
    "annotation_shape": ("annotation_id", "shape_type"),
    "annotation_file": ("format", "tomogram_voxel_spacing_id", "annotation_shape_id"),
    "annotation_author": ("annotation_id", "name"),
    "annotation_method_link": ("annotation_id", "link"),
}
"""Table → the columns that find an existing row; NULL finds NULL. Parents stand before their children."""


class Base(DeclarativeBase):
    """The root of every table; ``Base.metadata`` is the schema."""

    metadata = sa.MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: sa.String(),
        float: sa.Double(),
        datetime: sa.DateTime(timezone=True),
    }


class Row(Base):
    """A table of imported rows."""

    __abstract__ = True

    id: Mapped[int] = mapped_column(sa.Integer, primary_key=True, index=True, sort_order=-1)


def _row_of(table: str) -> MappedColumn[Any]:
    return mapped_column(sa.ForeignKey(f"{table}.id"), index=True)


def _one_of(words: type[StrEnum]) -> MappedColumn[Any]:
    return mapped_column(sa.String(longest(words)))


class Author(Row):
    """What the four author tables share."""

    __abstract__ = True

    author_list_order: Mapped[int]
    name: Mapped[str]
    orcid: Mapped[str | None]
    kaggle_id: Mapped[str | None]
    email: Mapped[str | None]
    affiliation_name: Mapped[str | None]
    affiliation_address: Mapped[str | None]
    affiliation_identifier: Mapped[str | None]
    corresponding_author_status: Mapped[bool | None]
    primary_author_status: Mapped[bool | None]


class Deposition(Row):
    """Something that a group handed in as one: data sets, tomograms, annotations."""

    __tablename__ = "deposition"

    title: Mapped[str]
    description: Mapped[str]
    tag: Mapped[str | None]
    deposition_publications: Mapped[str | None]
    related_database_entries: Mapped[str | None]
    deposition_date: Mapped[datetime]
    release_date: Mapped[datetime]
    last_modified_date: Mapped[datetime]
    key_photo_url: Mapped[str | None]
    key_photo_thumbnail_url: Mapped[str | None]


class DepositionAuthor(Author):
    """An author of a deposition."""

    __tablename__ = "deposition_author"

    deposition_id: Mapped[int] = _row_of("deposition")


class DepositionType(Row):
    """One kind of thing that a deposition brings."""

    __tablename__ = "deposition_type"

    deposition_id: Mapped[int] = _row_of("deposition")
    type: Mapped[str | None] = _one_of(DepositionKind)


class Dataset(Row):
    """A data set of the portal: one sample, imaged in runs."""

    __tablename__ = "dataset"

    deposition_id: Mapped[int] = _row_of("deposition")
    title: Mapped[str]
    description: Mapped[str]
    assay_label: Mapped[str | None]
    assay_ontology_id: Mapped[str | None]
    development_stage_name: Mapped[str | None]
    development_stage_ontology_id: Mapped[str | None]
    disease_name: Mapped[str | None]
    disease_ontology_id: Mapped[str | None]
    organism_name: Mapped[str | None]
    organism_taxid: Mapped[int | None]
    tissue_name: Mapped[str | None]
    tissue_id: Mapped[str | None]
    cell_name: Mapped[str | None]
    cell_type_id: Mapped[str | None]
    cell_strain_name: Mapped[str | None]
    cell_strain_id: Mapped[str | None]
    cell_component_name: Mapped[str | None]
    cell_component_id: Mapped[str | None]
    sample_type: Mapped[str | None] = _one_of(SampleType)
    sample_preparation: Mapped[str | None]
    grid_preparation: Mapped[str | None]
    other_setup: Mapped[str | None]
    deposition_date: Mapped[datetime]
    release_date: Mapped[datetime]
    last_modified_date: Mapped[datetime]
    dataset_publications: Mapped[str | None]
    related_database_entries: Mapped[str | None]
    key_photo_url: Mapped[str | None]
    key_photo_thumbnail_url: Mapped[str | None]
    s3_prefix: Mapped[str]
    https_prefix: Mapped[str]
    file_size: Mapped[float | None]


class DatasetAuthor(Author):
    """An author of a data set."""

    __tablename__ = "dataset_author"

    dataset_id: Mapped[int | None] = _row_of("dataset")


class DatasetFunding(Row):
    """Who paid for a data set."""

    __tablename__ = "dataset_funding"

    dataset_id: Mapped[int | None] = _row_of("dataset")
    funding_agency_name: Mapped[str | None]
    grant_id: Mapped[str | None]


class Run(Row):
    """One place of the sample, imaged in one session."""

    __tablename__ = "run"

    dataset_id: Mapped[int] = _row_of("dataset")
    name: Mapped[str]
    s3_prefix: Mapped[str]
    https_prefix: Mapped[str]


class FrameAcquisitionFile(Row):
    """What the microscope wrote down about the frames of a run."""

    __tablename__ = "frame_acquisition_file"

    run_id: Mapped[int | None] = _row_of("run")
    s3_mdoc_path: Mapped[str]
    https_mdoc_path: Mapped[str]


class Frame(Row):
    """One exposure."""

    __tablename__ = "frame"

    run_id: Mapped[int] = _row_of("run")
    deposition_id: Mapped[int] = _row_of("deposition")
    acquisition_order: Mapped[int | None]
    accumulated_dose: Mapped[float | None]
    exposure_dose: Mapped[float | None]
    is_gain_corrected: Mapped[bool | None]
    s3_frame_path: Mapped[str | None]
    https_frame_path: Mapped[str | None]
    file_size: Mapped[float | None]


class GainFile(Row):
    """A gain reference of the camera."""

    __tablename__ = "gain_file"

    run_id: Mapped[int] = _row_of("run")
    s3_file_path: Mapped[str]
    https_file_path: Mapped[str]


class Tiltseries(Row):
    """The exposures of a run, put together over the tilt angles."""

    __tablename__ = "tiltseries"

    run_id: Mapped[int] = _row_of("run")
    deposition_id: Mapped[int | None] = _row_of("deposition")
    s3_mrc_file: Mapped[str | None]
    https_mrc_file: Mapped[str | None]
    file_size_mrc: Mapped[float | None]
    s3_omezarr_dir: Mapped[str | None]
    https_omezarr_dir: Mapped[str | None]
    file_size_omezarr: Mapped[float | None]
    s3_angle_list: Mapped[str | None]
    https_angle_list: Mapped[str | None]
    acceleration_voltage: Mapped[int]
    spherical_aberration_constant: Mapped[float]
    microscope_manufacturer: Mapped[str] = _one_of(MicroscopeManufacturer)
    microscope_model: Mapped[str]
    microscope_additional_info: Mapped[str | None]
    microscope_energy_filter: Mapped[str]
    microscope_phase_plate: Mapped[str | None]
    microscope_image_corrector: Mapped[str | None]
    camera_manufacturer: Mapped[str]
    camera_model: Mapped[str]
    tilt_min: Mapped[float]
    tilt_max: Mapped[float]
    tilt_range: Mapped[float]
    tilt_step: Mapped[float]
    tilt_axis: Mapped[float]
    total_flux: Mapped[float]
    pixel_spacing: Mapped[float]
    tilting_scheme: Mapped[str]
    data_acquisition_software: Mapped[str]
    related_empiar_entry: Mapped[str | None]
    binning_from_frames: Mapped[float | None]
    tilt_series_quality: Mapped[int]
    is_aligned: Mapped[bool]
    aligned_tiltseries_binning: Mapped[int | None]
    size_x: Mapped[int | None]
    size_y: Mapped[int | None]
    size_z: Mapped[int | None]


class PerSectionParameters(Row):
    """What is known about one section of a tilt series."""

    __tablename__ = "per_section_parameters"

    tiltseries_id: Mapped[int] = _row_of("tiltseries")
    run_id: Mapped[int] = _row_of("run")
    frame_id: Mapped[int] = _row_of("frame")
    z_index: Mapped[int]
    raw_angle: Mapped[float]
    astigmatic_angle: Mapped[float | None]
    major_defocus: Mapped[float | None]
    minor_defocus: Mapped[float | None]
    max_resolution: Mapped[float | None]
    phase_shift: Mapped[float | None]


class Alignment(Row):
    """How the sections of a tilt series lie to each other."""

    __tablename__ = "alignment"

    run_id: Mapped[int | None] = _row_of("run")
    deposition_id: Mapped[int | None] = _row_of("deposition")
    tiltseries_id: Mapped[int | None] = _row_of("tiltseries")
    alignment_type: Mapped[str | None] = _one_of(AlignmentType)
    alignment_method: Mapped[str | None] = _one_of(AlignmentMethod)
    volume_x_dimension: Mapped[float | None]
    volume_y_dimension: Mapped[float | None]
    volume_z_dimension: Mapped[float | None]
    volume_x_offset: Mapped[float | None]
    volume_y_offset: Mapped[float | None]
    volume_z_offset: Mapped[float | None]
    tilt_offset: Mapped[float | None]
    x_rotation_offset: Mapped[float | None]
    affine_transformation_matrix: Mapped[str | None]
    is_portal_standard: Mapped[bool | None]
    s3_alignment_metadata: Mapped[str | None]
    https_alignment_metadata: Mapped[str | None]


class PerSectionAlignmentParameters(Row):
    """How one section of a tilt series was moved."""

    __tablename__ = "per_section_alignment_parameters"

    alignment_id: Mapped[int] = _row_of("alignment")
    z_index: Mapped[int]
    x_offset: Mapped[float | None]
    y_offset: Mapped[float | None]
    volume_x_rotation: Mapped[float | None]
    tilt_angle: Mapped[float | None]
    in_plane_rotation: Mapped[Any | None] = mapped_column(JSONB(none_as_null=True))


class IdentifiedObject(Row):
    """Something known to be in a run."""

    __tablename__ = "identified_object"

    run_id: Mapped[int | None] = _row_of("run")
    object_id: Mapped[str]
    object_name: Mapped[str]
    object_description: Mapped[str | None]
    object_state: Mapped[str | None]


class TomogramVoxelSpacing(Row):
    """The tomograms and annotations of a run at one resolution."""

    __tablename__ = "tomogram_voxel_spacing"

    run_id: Mapped[int | None] = _row_of("run")
    voxel_spacing: Mapped[float]
    """In ångström."""
    s3_prefix: Mapped[str]
    https_prefix: Mapped[str]


class Tomogram(Row):
    """A volume reconstructed from a tilt series."""

    __tablename__ = "tomogram"

    deposition_id: Mapped[int] = _row_of("deposition")
    run_id: Mapped[int | None] = _row_of("run")
    tomogram_voxel_spacing_id: Mapped[int | None] = _row_of("tomogram_voxel_spacing")
    alignment_id: Mapped[int | None] = _row_of("alignment")
    name: Mapped[str | None]
    size_x: Mapped[int]
    size_y: Mapped[int]
    size_z: Mapped[int]
    voxel_spacing: Mapped[float]
    fiducial_alignment_status: Mapped[str] = _one_of(FiducialAlignmentStatus)
    reconstruction_method: Mapped[str] = _one_of(ReconstructionMethod)
    reconstruction_software: Mapped[str]
    processing: Mapped[str] = _one_of(TomogramProcessing)
    processing_software: Mapped[str | None]
    tomogram_version: Mapped[float | None]
    ctf_corrected: Mapped[bool | None]
    is_portal_standard: Mapped[bool | None]
    is_author_submitted: Mapped[bool | None]
    is_visualization_default: Mapped[bool | None]
    s3_omezarr_dir: Mapped[str | None]
    https_omezarr_dir: Mapped[str | None]
    file_size_omezarr: Mapped[float | None]
    s3_mrc_file: Mapped[str | None]
    https_mrc_file: Mapped[str | None]
    file_size_mrc: Mapped[float | None]
    scale0_dimensions: Mapped[str | None]
    scale1_dimensions: Mapped[str | None]
    scale2_dimensions: Mapped[str | None]
    offset_x: Mapped[int]
    offset_y: Mapped[int]
    offset_z: Mapped[int]
    key_photo_url: Mapped[str | None]
    key_photo_thumbnail_url: Mapped[str | None]
    neuroglancer_config: Mapped[str | None]
    publications: Mapped[str | None]
    related_database_entries: Mapped[str | None]
    deposition_date: Mapped[datetime | None]
    release_date: Mapped[datetime | None]
    last_modified_date: Mapped[datetime | None]


class TomogramAuthor(Author):
    """An author of a tomogram."""

    __tablename__ = "tomogram_author"

    tomogram_id: Mapped[int | None] = _row_of("tomogram")


class Annotation(Row):
    """What somebody, or a program, found in a tomogram."""

    __tablename__ = "annotation"

    run_id: Mapped[int | None] = _row_of("run")
    tomogram_voxel_spacing_id: Mapped[int | None] = _row_of("tomogram_voxel_spacing")
    deposition_id: Mapped[int | None] = _row_of("deposition")
    annotation_ingest_id: Mapped[str]
    s3_metadata_path: Mapped[str]
    https_metadata_path: Mapped[str]
    annotation_publication: Mapped[str | None]
    annotation_method: Mapped[str]
    method_type: Mapped[str] = _one_of(AnnotationMethodType)
    ground_truth_status: Mapped[bool | None]
    is_curator_recommended: Mapped[bool | None]
    object_id: Mapped[str]
    object_name: Mapped[str]
    object_description: Mapped[str | None]
    object_state: Mapped[str | None]
    object_count: Mapped[int | None]
    confidence_precision: Mapped[float | None]
    confidence_recall: Mapped[float | None]
    ground_truth_used: Mapped[str | None]
    annotation_software: Mapped[str | None]
    deposition_date: Mapped[datetime]
    release_date: Mapped[datetime]
    last_modified_date: Mapped[datetime]


class AnnotationShape(Row):
    """One form in which an annotation is given."""

    __tablename__ = "annotation_shape"

    annotation_id: Mapped[int | None] = _row_of("annotation")
    shape_type: Mapped[str | None] = _one_of(AnnotationShapeType)


class AnnotationFile(Row):
    """One file of an annotation's shape."""

    __tablename__ = "annotation_file"

    annotation_shape_id: Mapped[int | None] = _row_of("annotation_shape")
    tomogram_voxel_spacing_id: Mapped[int | None] = _row_of("tomogram_voxel_spacing")
    alignment_id: Mapped[int | None] = _row_of("alignment")
    format: Mapped[str]
    s3_path: Mapped[str]
    https_path: Mapped[str]
    file_size: Mapped[float | None]
    is_visualization_default: Mapped[bool | None]
    source: Mapped[str | None] = _one_of(AnnotationFileSource)


class AnnotationAuthor(Author):
    """An author of an annotation."""

    __tablename__ = "annotation_author"

    annotation_id: Mapped[int | None] = _row_of("annotation")


class AnnotationMethodLink(Row):
    """Where more is to be found about how an annotation was made."""

    __tablename__ = "annotation_method_link"

    annotation_id: Mapped[int | None] = _row_of("annotation")
    link_type: Mapped[str] = _one_of(MethodLinkType)
    name: Mapped[str | None]
    link: Mapped[str]


class File(Base):
    """Not used; the portal's database has it."""

    __tablename__ = "file"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    entity_id: Mapped[str]
    entity_field_name: Mapped[str]
    entity_class_name: Mapped[str]
    status: Mapped[str] = _one_of(FileStatus)
    protocol: Mapped[str] = _one_of(FileProtocol)
    namespace: Mapped[str]
    path: Mapped[str]
    file_format: Mapped[str]
    compression_type: Mapped[str | None]
    size: Mapped[int | None]
    upload_client: Mapped[str | None] = _one_of(FileUploadClient)
    upload_error: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    updated_at: Mapped[datetime | None]


for _name, _columns in IDENTITIES.items():
    if _columns != ("id",):
        Base.metadata.tables[_name].append_constraint(
            sa.UniqueConstraint(*_columns, postgresql_nulls_not_distinct=True)
        )
