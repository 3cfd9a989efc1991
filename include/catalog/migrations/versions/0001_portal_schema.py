"""The portal's schema, as its own migrations leave it.

Over a database that has these tables already, only what is missing is made; its rows stay. What cannot be
used as it stands ends the migration, by table and column.

Revision ID: 0001
Revises: nothing
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from include.catalog.existing_schema import complete_schema
from include.errors import PermanentError

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Spelled out, not taken from the models: those move on, this revision does not.
SCHEMA = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)

INTEGER = sa.Integer()
FLOAT = sa.Double[float]()
TEXT = sa.String()
FLAG = sa.Boolean()
MOMENT = sa.DateTime(timezone=True)


class _RowOf(str):
    """Name of the table that a column refers to."""

    __slots__ = ()


def row_of(table: str) -> _RowOf:
    return _RowOf(table)


def required(name: str, kind: sa.types.TypeEngine[Any] | _RowOf) -> sa.Column[Any]:
    return _column(name, kind, nullable=False)


def optional(name: str, kind: sa.types.TypeEngine[Any] | _RowOf) -> sa.Column[Any]:
    return _column(name, kind, nullable=True)


def _column(
    name: str, kind: sa.types.TypeEngine[Any] | _RowOf, *, nullable: bool
) -> sa.Column[Any]:
    if isinstance(kind, _RowOf):
        key = sa.ForeignKey(f"{kind}.id")
        return sa.Column(name, sa.Integer(), key, nullable=nullable, index=True)
    return sa.Column(name, kind, nullable=nullable)


def table(name: str, *columns: sa.schema.SchemaItem) -> None:
    identifier = sa.Column("id", sa.Integer(), primary_key=True, index=True)
    sa.Table(name, SCHEMA, identifier, *columns)


table(
    "deposition",
    required("title", TEXT),
    required("description", TEXT),
    optional("tag", TEXT),
    optional("deposition_publications", TEXT),
    optional("related_database_entries", TEXT),
    required("deposition_date", MOMENT),
    required("release_date", MOMENT),
    required("last_modified_date", MOMENT),
    optional("key_photo_url", TEXT),
    optional("key_photo_thumbnail_url", TEXT),
)

table(
    "dataset",
    required("deposition_id", row_of("deposition")),
    required("title", TEXT),
    required("description", TEXT),
    optional("assay_label", TEXT),
    optional("assay_ontology_id", TEXT),
    optional("development_stage_name", TEXT),
    optional("development_stage_ontology_id", TEXT),
    optional("disease_name", TEXT),
    optional("disease_ontology_id", TEXT),
    optional("organism_name", TEXT),
    optional("organism_taxid", INTEGER),
    optional("tissue_name", TEXT),
    optional("tissue_id", TEXT),
    optional("cell_name", TEXT),
    optional("cell_type_id", TEXT),
    optional("cell_strain_name", TEXT),
    optional("cell_strain_id", TEXT),
    optional("cell_component_name", TEXT),
    optional("cell_component_id", TEXT),
    optional("sample_type", sa.String(20)),
    optional("sample_preparation", TEXT),
    optional("grid_preparation", TEXT),
    optional("other_setup", TEXT),
    required("deposition_date", MOMENT),
    required("release_date", MOMENT),
    required("last_modified_date", MOMENT),
    optional("dataset_publications", TEXT),
    optional("related_database_entries", TEXT),
    optional("key_photo_url", TEXT),
    optional("key_photo_thumbnail_url", TEXT),
    required("s3_prefix", TEXT),
    required("https_prefix", TEXT),
    optional("file_size", FLOAT),
)

table(
    "deposition_author",
    required("deposition_id", row_of("deposition")),
    required("author_list_order", INTEGER),
    required("name", TEXT),
    optional("orcid", TEXT),
    optional("kaggle_id", TEXT),
    optional("email", TEXT),
    optional("affiliation_name", TEXT),
    optional("affiliation_address", TEXT),
    optional("affiliation_identifier", TEXT),
    optional("corresponding_author_status", FLAG),
    optional("primary_author_status", FLAG),
)

table(
    "deposition_type",
    required("deposition_id", row_of("deposition")),
    optional("type", sa.String(10)),
)

table(
    "dataset_author",
    optional("dataset_id", row_of("dataset")),
    required("author_list_order", INTEGER),
    required("name", TEXT),
    optional("orcid", TEXT),
    optional("kaggle_id", TEXT),
    optional("email", TEXT),
    optional("affiliation_name", TEXT),
    optional("affiliation_address", TEXT),
    optional("affiliation_identifier", TEXT),
    optional("corresponding_author_status", FLAG),
    optional("primary_author_status", FLAG),
)

table(
    "dataset_funding",
    optional("dataset_id", row_of("dataset")),
    optional("funding_agency_name", TEXT),
    optional("grant_id", TEXT),
)

table(
    "run",
    required("dataset_id", row_of("dataset")),
    required("name", TEXT),
    required("s3_prefix", TEXT),
    required("https_prefix", TEXT),
)

table(
    "frame",
    required("run_id", row_of("run")),
    required("deposition_id", row_of("deposition")),
    optional("acquisition_order", INTEGER),
    optional("accumulated_dose", FLOAT),
    optional("exposure_dose", FLOAT),
    optional("is_gain_corrected", FLAG),
    optional("s3_frame_path", TEXT),
    optional("https_frame_path", TEXT),
    optional("file_size", FLOAT),
)

table(
    "frame_acquisition_file",
    optional("run_id", row_of("run")),
    required("s3_mdoc_path", TEXT),
    required("https_mdoc_path", TEXT),
)

table(
    "gain_file",
    required("run_id", row_of("run")),
    required("s3_file_path", TEXT),
    required("https_file_path", TEXT),
)

table(
    "identified_object",
    optional("run_id", row_of("run")),
    required("object_id", TEXT),
    required("object_name", TEXT),
    optional("object_description", TEXT),
    optional("object_state", TEXT),
    sa.UniqueConstraint("run_id", "object_id"),
)

table(
    "tiltseries",
    required("run_id", row_of("run")),
    optional("deposition_id", row_of("deposition")),
    optional("s3_mrc_file", TEXT),
    optional("https_mrc_file", TEXT),
    optional("file_size_mrc", FLOAT),
    optional("s3_omezarr_dir", TEXT),
    optional("https_omezarr_dir", TEXT),
    optional("file_size_omezarr", FLOAT),
    optional("s3_angle_list", TEXT),
    optional("https_angle_list", TEXT),
    required("acceleration_voltage", INTEGER),
    required("spherical_aberration_constant", FLOAT),
    required("microscope_manufacturer", sa.String(9)),
    required("microscope_model", TEXT),
    optional("microscope_additional_info", TEXT),
    required("microscope_energy_filter", TEXT),
    optional("microscope_phase_plate", TEXT),
    optional("microscope_image_corrector", TEXT),
    required("camera_manufacturer", TEXT),
    required("camera_model", TEXT),
    required("tilt_min", FLOAT),
    required("tilt_max", FLOAT),
    required("tilt_range", FLOAT),
    required("tilt_step", FLOAT),
    required("tilt_axis", FLOAT),
    required("total_flux", FLOAT),
    required("pixel_spacing", FLOAT),
    required("tilting_scheme", TEXT),
    required("data_acquisition_software", TEXT),
    optional("related_empiar_entry", TEXT),
    optional("binning_from_frames", FLOAT),
    required("tilt_series_quality", INTEGER),
    required("is_aligned", FLAG),
    optional("aligned_tiltseries_binning", INTEGER),
    optional("size_x", INTEGER),
    optional("size_y", INTEGER),
    optional("size_z", INTEGER),
)

table(
    "tomogram_voxel_spacing",
    optional("run_id", row_of("run")),
    required("voxel_spacing", FLOAT),
    required("s3_prefix", TEXT),
    required("https_prefix", TEXT),
)

table(
    "alignment",
    optional("run_id", row_of("run")),
    optional("deposition_id", row_of("deposition")),
    optional("tiltseries_id", row_of("tiltseries")),
    optional("alignment_type", sa.String(6)),
    optional("alignment_method", sa.String(19)),
    optional("volume_x_dimension", FLOAT),
    optional("volume_y_dimension", FLOAT),
    optional("volume_z_dimension", FLOAT),
    optional("volume_x_offset", FLOAT),
    optional("volume_y_offset", FLOAT),
    optional("volume_z_offset", FLOAT),
    optional("tilt_offset", FLOAT),
    optional("x_rotation_offset", FLOAT),
    optional("affine_transformation_matrix", TEXT),
    optional("is_portal_standard", FLAG),
    optional("s3_alignment_metadata", TEXT),
    optional("https_alignment_metadata", TEXT),
)

table(
    "annotation",
    optional("run_id", row_of("run")),
    optional("tomogram_voxel_spacing_id", row_of("tomogram_voxel_spacing")),
    optional("deposition_id", row_of("deposition")),
    required("annotation_ingest_id", TEXT),
    required("s3_metadata_path", TEXT),
    required("https_metadata_path", TEXT),
    optional("annotation_publication", TEXT),
    required("annotation_method", TEXT),
    required("method_type", sa.String(9)),
    optional("ground_truth_status", FLAG),
    optional("is_curator_recommended", FLAG),
    required("object_id", TEXT),
    required("object_name", TEXT),
    optional("object_description", TEXT),
    optional("object_state", TEXT),
    optional("object_count", INTEGER),
    optional("confidence_precision", FLOAT),
    optional("confidence_recall", FLOAT),
    optional("ground_truth_used", TEXT),
    optional("annotation_software", TEXT),
    required("deposition_date", MOMENT),
    required("release_date", MOMENT),
    required("last_modified_date", MOMENT),
)

table(
    "per_section_parameters",
    required("tiltseries_id", row_of("tiltseries")),
    required("run_id", row_of("run")),
    required("frame_id", row_of("frame")),
    required("z_index", INTEGER),
    required("raw_angle", FLOAT),
    optional("astigmatic_angle", FLOAT),
    optional("major_defocus", FLOAT),
    optional("minor_defocus", FLOAT),
    optional("max_resolution", FLOAT),
    optional("phase_shift", FLOAT),
)

table(
    "annotation_author",
    optional("annotation_id", row_of("annotation")),
    required("author_list_order", INTEGER),
    required("name", TEXT),
    optional("orcid", TEXT),
    optional("kaggle_id", TEXT),
    optional("email", TEXT),
    optional("affiliation_name", TEXT),
    optional("affiliation_address", TEXT),
    optional("affiliation_identifier", TEXT),
    optional("corresponding_author_status", FLAG),
    optional("primary_author_status", FLAG),
)

table(
    "annotation_method_link",
    optional("annotation_id", row_of("annotation")),
    required("link_type", sa.String(14)),
    optional("name", TEXT),
    required("link", TEXT),
)

table(
    "annotation_shape",
    optional("annotation_id", row_of("annotation")),
    optional("shape_type", sa.String(24)),
)

table(
    "per_section_alignment_parameters",
    required("alignment_id", row_of("alignment")),
    required("z_index", INTEGER),
    optional("x_offset", FLOAT),
    optional("y_offset", FLOAT),
    optional("volume_x_rotation", FLOAT),
    optional("tilt_angle", FLOAT),
    optional("in_plane_rotation", JSONB()),
)

table(
    "tomogram",
    required("deposition_id", row_of("deposition")),
    optional("run_id", row_of("run")),
    optional("tomogram_voxel_spacing_id", row_of("tomogram_voxel_spacing")),
    optional("alignment_id", row_of("alignment")),
    optional("name", TEXT),
    required("size_x", INTEGER),
    required("size_y", INTEGER),
    required("size_z", INTEGER),
    required("voxel_spacing", FLOAT),
    required("fiducial_alignment_status", sa.String(12)),
    required("reconstruction_method", sa.String(13)),
    required("reconstruction_software", TEXT),
    required("processing", sa.String(13)),
    optional("processing_software", TEXT),
    optional("tomogram_version", FLOAT),
    optional("ctf_corrected", FLAG),
    optional("is_portal_standard", FLAG),
    optional("is_author_submitted", FLAG),
    optional("is_visualization_default", FLAG),
    optional("s3_omezarr_dir", TEXT),
    optional("https_omezarr_dir", TEXT),
    optional("file_size_omezarr", FLOAT),
    optional("s3_mrc_file", TEXT),
    optional("https_mrc_file", TEXT),
    optional("file_size_mrc", FLOAT),
    optional("scale0_dimensions", TEXT),
    optional("scale1_dimensions", TEXT),
    optional("scale2_dimensions", TEXT),
    required("offset_x", INTEGER),
    required("offset_y", INTEGER),
    required("offset_z", INTEGER),
    optional("key_photo_url", TEXT),
    optional("key_photo_thumbnail_url", TEXT),
    optional("neuroglancer_config", TEXT),
    optional("publications", TEXT),
    optional("related_database_entries", TEXT),
    optional("deposition_date", MOMENT),
    optional("release_date", MOMENT),
    optional("last_modified_date", MOMENT),
)

table(
    "annotation_file",
    optional("annotation_shape_id", row_of("annotation_shape")),
    optional("tomogram_voxel_spacing_id", row_of("tomogram_voxel_spacing")),
    optional("alignment_id", row_of("alignment")),
    required("format", TEXT),
    required("s3_path", TEXT),
    required("https_path", TEXT),
    optional("file_size", FLOAT),
    optional("is_visualization_default", FLAG),
    optional("source", sa.String(15)),
)

table(
    "tomogram_author",
    optional("tomogram_id", row_of("tomogram")),
    required("author_list_order", INTEGER),
    required("name", TEXT),
    optional("orcid", TEXT),
    optional("kaggle_id", TEXT),
    optional("email", TEXT),
    optional("affiliation_name", TEXT),
    optional("affiliation_address", TEXT),
    optional("affiliation_identifier", TEXT),
    optional("corresponding_author_status", FLAG),
    optional("primary_author_status", FLAG),
)
sa.Table(
    "file",
    SCHEMA,
    sa.Column("id", sa.Uuid(), primary_key=True),
    required("entity_id", TEXT),
    required("entity_field_name", TEXT),
    required("entity_class_name", TEXT),
    required("status", sa.String(7)),
    required("protocol", sa.String(5)),
    required("namespace", TEXT),
    required("path", TEXT),
    required("file_format", TEXT),
    optional("compression_type", TEXT),
    optional("size", INTEGER),
    optional("upload_client", sa.String(9)),
    optional("upload_error", TEXT),
    sa.Column("created_at", MOMENT, nullable=False, server_default=sa.func.now()),
    optional("updated_at", MOMENT),
)


def upgrade() -> None:
    """Make the tables, indexes and foreign keys that are missing."""
    complete_schema(op.get_bind(), SCHEMA)


def downgrade() -> None:
    """Refused: the tables may be older than this revision, and they hold the catalog."""
    raise PermanentError("dropping the catalog's tables is for a person, not for a migration")
