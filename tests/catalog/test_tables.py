"""Every table and column, against the portal's schema written out by hand."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from include.catalog import enums
from include.catalog.migrate import migrate, opened_database
from include.catalog.tables import IDENTITIES, Base

AUTHOR = """
    author_list_order integer!
    name text!
    orcid, kaggle_id, email, affiliation_name, affiliation_address, affiliation_identifier text
    corresponding_author_status, primary_author_status boolean
"""

# "!" is NOT NULL, "→" a foreign key to the id of that table. Every table has `id integer!` besides.
SCHEMA = {
    "deposition": """
        title, description text!
        tag, deposition_publications, related_database_entries text
        deposition_date, release_date, last_modified_date tstz!
        key_photo_url, key_photo_thumbnail_url text
    """,
    "deposition_author": "deposition_id integer!→deposition" + AUTHOR,
    "deposition_type": """
        deposition_id integer!→deposition
        type text(10)
    """,
    "dataset": """
        deposition_id integer!→deposition
        title, description text!
        assay_label, assay_ontology_id text
        development_stage_name, development_stage_ontology_id text
        disease_name, disease_ontology_id text
        organism_name text
        organism_taxid integer
        tissue_name, tissue_id text
        cell_name, cell_type_id text
        cell_strain_name, cell_strain_id text
        cell_component_name, cell_component_id text
        sample_type text(20)
        sample_preparation, grid_preparation, other_setup text
        deposition_date, release_date, last_modified_date tstz!
        dataset_publications, related_database_entries text
        key_photo_url, key_photo_thumbnail_url text
        s3_prefix, https_prefix text!
        file_size float
    """,
    "dataset_author": "dataset_id integer→dataset" + AUTHOR,
    "dataset_funding": """
        dataset_id integer→dataset
        funding_agency_name, grant_id text
    """,
    "run": """
        dataset_id integer!→dataset
        name, s3_prefix, https_prefix text!
    """,
    "frame_acquisition_file": """
        run_id integer→run
        s3_mdoc_path, https_mdoc_path text!
    """,
    "frame": """
        run_id integer!→run
        deposition_id integer!→deposition
        acquisition_order integer
        accumulated_dose, exposure_dose float
        is_gain_corrected boolean
        s3_frame_path, https_frame_path text
        file_size float
    """,
    "gain_file": """
        run_id integer!→run
        s3_file_path, https_file_path text!
    """,
    "tiltseries": """
        run_id integer!→run
        deposition_id integer→deposition
        s3_mrc_file, https_mrc_file, s3_omezarr_dir, https_omezarr_dir text
        file_size_mrc, file_size_omezarr float
        s3_angle_list, https_angle_list text
        acceleration_voltage integer!
        spherical_aberration_constant float!
        microscope_manufacturer text(9)!
        microscope_model, microscope_energy_filter text!
        microscope_additional_info, microscope_phase_plate, microscope_image_corrector text
        camera_manufacturer, camera_model text!
        tilt_min, tilt_max, tilt_range, tilt_step, tilt_axis, total_flux, pixel_spacing float!
        tilting_scheme, data_acquisition_software text!
        related_empiar_entry text
        binning_from_frames float
        tilt_series_quality integer!
        is_aligned boolean!
        aligned_tiltseries_binning, size_x, size_y, size_z integer
    """,
    "per_section_parameters": """
        tiltseries_id integer!→tiltseries
        run_id integer!→run
        frame_id integer!→frame
        z_index integer!
        raw_angle float!
        astigmatic_angle, major_defocus, minor_defocus, max_resolution, phase_shift float
    """,
    "alignment": """
        run_id integer→run
        deposition_id integer→deposition
        tiltseries_id integer→tiltseries
        alignment_type text(6)
        alignment_method text(19)
        volume_x_dimension, volume_y_dimension, volume_z_dimension float
        volume_x_offset, volume_y_offset, volume_z_offset float
        tilt_offset, x_rotation_offset float
        affine_transformation_matrix text
        is_portal_standard boolean
        s3_alignment_metadata, https_alignment_metadata text
    """,
    "per_section_alignment_parameters": """
        alignment_id integer!→alignment
        z_index integer!
        x_offset, y_offset, volume_x_rotation, tilt_angle float
        in_plane_rotation jsonb
    """,
    "identified_object": """
        run_id integer→run
        object_id, object_name text!
        object_description, object_state text
    """,
    "tomogram_voxel_spacing": """
        run_id integer→run
        voxel_spacing float!
        s3_prefix, https_prefix text!
    """,
    "tomogram": """
        deposition_id integer!→deposition
        run_id integer→run
        tomogram_voxel_spacing_id integer→tomogram_voxel_spacing
        alignment_id integer→alignment
        name text
        size_x, size_y, size_z integer!
        voxel_spacing float!
        fiducial_alignment_status text(12)!
        reconstruction_method, processing text(13)!
        reconstruction_software text!
        processing_software text
        tomogram_version float
        ctf_corrected, is_portal_standard, is_author_submitted, is_visualization_default boolean
        s3_omezarr_dir, https_omezarr_dir, s3_mrc_file, https_mrc_file text
        file_size_omezarr, file_size_mrc float
        scale0_dimensions, scale1_dimensions, scale2_dimensions text
        offset_x, offset_y, offset_z integer!
        key_photo_url, key_photo_thumbnail_url text
        neuroglancer_config, publications, related_database_entries text
        deposition_date, release_date, last_modified_date tstz
    """,
    "tomogram_author": "tomogram_id integer→tomogram" + AUTHOR,
    "annotation": """
        run_id integer→run
        tomogram_voxel_spacing_id integer→tomogram_voxel_spacing
        deposition_id integer→deposition
        annotation_ingest_id, s3_metadata_path, https_metadata_path text!
        annotation_publication text
        annotation_method text!
        method_type text(9)!
        ground_truth_status, is_curator_recommended boolean
        object_id, object_name text!
        object_description, object_state text
        object_count integer
        confidence_precision, confidence_recall float
        ground_truth_used, annotation_software text
        deposition_date, release_date, last_modified_date tstz!
    """,
    "annotation_shape": """
        annotation_id integer→annotation
        shape_type text(24)
    """,
    "annotation_file": """
        annotation_shape_id integer→annotation_shape
        tomogram_voxel_spacing_id integer→tomogram_voxel_spacing
        alignment_id integer→alignment
        format, s3_path, https_path text!
        file_size float
        is_visualization_default boolean
        source text(15)
    """,
    "annotation_author": "annotation_id integer→annotation" + AUTHOR,
    "annotation_method_link": """
        annotation_id integer→annotation
        link_type text(14)!
        name text
        link text!
    """,
    "file": """
        entity_id, entity_field_name, entity_class_name, namespace, path, file_format text!
        status text(7)!
        protocol text(5)!
        compression_type, upload_error text
        size integer
        upload_client text(9)
        created_at tstz!
        updated_at tstz
    """,
}

UNIQUE = {
    "deposition_author": "deposition_id name",
    "deposition_type": "deposition_id type",
    "dataset_author": "dataset_id name",
    "dataset_funding": "dataset_id funding_agency_name grant_id",
    "run": "dataset_id name",
    "frame_acquisition_file": "run_id s3_mdoc_path",
    "frame": "run_id acquisition_order",
    "gain_file": "run_id s3_file_path",
    "tiltseries": "run_id",
    "per_section_parameters": "frame_id run_id tiltseries_id",
    "alignment": "run_id deposition_id",
    "per_section_alignment_parameters": "alignment_id z_index",
    "identified_object": "run_id object_id",
    "tomogram_voxel_spacing": "run_id voxel_spacing",
    "tomogram": "deposition_id processing processing_software reconstruction_method run_id tomogram_voxel_spacing_id",
    "tomogram_author": "tomogram_id name",
    "annotation": "run_id deposition_id annotation_ingest_id",
    "annotation_shape": "annotation_id shape_type",
    "annotation_file": "format tomogram_voxel_spacing_id annotation_shape_id",
    "annotation_author": "annotation_id name",
    "annotation_method_link": "annotation_id link",
}

TYPES = {
    "INTEGER": "integer",
    "VARCHAR": "text",
    "DOUBLE PRECISION": "float",
    "BOOLEAN": "boolean",
    "TIMESTAMP": "tstz",
    "JSONB": "jsonb",
}


def columns_of(text: str) -> dict[str, str]:
    """Column → its type, as in ``{"title": "text!"}``, without foreign keys."""
    found = {}
    for line in filter(str.strip, text.splitlines()):
        names, kind = line.strip().rsplit(" ", 1)
        found |= dict.fromkeys(names.split(", "), kind.partition("→")[0])
    return found


def references_of(text: str) -> dict[str, str]:
    lines = (line.strip() for line in text.splitlines() if "→" in line)
    return {line.split(" ")[0]: line.split("→")[1] for line in lines}


def shown(kind: sa.types.TypeEngine, *, nullable: bool) -> str:
    is_bounded = isinstance(kind, sa.String) and kind.length
    name = f"text({kind.length})" if is_bounded else TYPES[str(kind)]
    if name == "tstz":
        assert kind.timezone
    return name + ("" if nullable else "!")


@pytest.fixture
def inspector(fresh_database: str):
    migrate(fresh_database)
    with opened_database(fresh_database) as connection:
        yield sa.inspect(connection)


def test_the_database_has_the_tables_and_columns_of_the_sheet(inspector: sa.Inspector):
    expected = {name: columns_of(text) for name, text in SCHEMA.items()}
    assert len(expected) == 24
    found = {}
    for table in inspector.get_table_names():
        if table == "assetflow_catalog_version":
            continue
        columns = {column["name"]: column for column in inspector.get_columns(table)}
        identifier = columns.pop("id")
        if table == "file":
            assert isinstance(identifier["type"], sa.Uuid)
            assert columns["created_at"]["default"] == "now()"
        else:
            assert shown(identifier["type"], nullable=identifier["nullable"]) == "integer!"
            assert "nextval" in identifier["default"]
        found[table] = {
            name: shown(column["type"], nullable=column["nullable"])
            for name, column in columns.items()
        }
        defaults = {name for name, column in columns.items() if column["default"]}
        assert defaults == ({"created_at"} if table == "file" else set())
    assert found == expected


def test_the_models_have_them_too():
    found = {
        table.name: {
            column.name: shown_model(column) for column in table.columns if column.name != "id"
        }
        for table in Base.metadata.tables.values()
    }
    assert found == {name: columns_of(text) for name, text in SCHEMA.items()}


def shown_model(column: sa.Column) -> str:
    names = {sa.Double: "float", sa.Integer: "integer", sa.Boolean: "boolean", sa.DateTime: "tstz"}
    if isinstance(column.type, sa.String):
        name = f"text({column.type.length})" if column.type.length else "text"
    else:
        name = names.get(type(column.type), type(column.type).__name__.lower())
    return name + ("" if column.nullable else "!")


def test_foreign_keys_are_named_indexed_and_do_not_cascade(inspector: sa.Inspector):
    count = 0
    for table, text in SCHEMA.items():
        references = references_of(text)
        keys = inspector.get_foreign_keys(table)
        found = {key["constrained_columns"][0]: key["referred_table"] for key in keys}
        assert found == references, table
        for key in keys:
            name = f"fk_{table}_{key['constrained_columns'][0]}_{key['referred_table']}"
            if len(name) > 63:
                assert (table, key["constrained_columns"]) == (
                    "annotation_file",
                    ["tomogram_voxel_spacing_id"],
                )
                assert key["name"][:50] == name[:50]
            else:
                assert key["name"] == name
            assert key["referred_columns"] == ["id"]
            assert not key["options"]
        indexed = {*references, "id"} if table != "file" else set()
        assert {
            (index["name"], *index["column_names"])
            for index in inspector.get_indexes(table)
            if not index.get("duplicates_constraint")
        } == {(f"ix_{table}_{column}", column) for column in indexed}
        key = inspector.get_pk_constraint(table)
        assert (key["name"], key["constrained_columns"]) == (f"pk_{table}", ["id"])
        count += len(keys)
    assert count == 35


def test_every_identity_is_unique_and_null_is_a_value(inspector: sa.Inspector):
    assert {
        table: " ".join(columns) for table, columns in IDENTITIES.items() if columns != ("id",)
    } == UNIQUE
    assert set(IDENTITIES) == set(SCHEMA) - {"file"}
    query = sa.text(
        "SELECT conrelid::regclass::text, conname, indnullsnotdistinct, "
        "(SELECT string_agg(attname, ' ' ORDER BY place) FROM unnest(conkey) WITH ORDINALITY AS k(n, place) "
        "JOIN pg_attribute ON attrelid = conrelid AND attnum = n) "
        "FROM pg_constraint JOIN pg_index ON indexrelid = conindid WHERE contype = 'u' AND connamespace = 'public'::regnamespace"
    )
    rows = inspector.bind.execute(query).all()
    assert {row[0]: row[3] for row in rows} == UNIQUE
    assert len(rows) == len(UNIQUE)
    assert all(row[2] for row in rows)
    for table, name, _, columns in rows:
        full = f"uq_{table}_{columns.replace(' ', '_')}"
        assert name == full if len(full) <= 63 else name[:50] == full[:50]
    assert ("identified_object", "uq_identified_object_run_id_object_id") in {
        (row[0], row[1]) for row in rows
    }


def test_parents_stand_before_their_children():
    places = {name: place for place, name in enumerate(IDENTITIES)}
    for table in Base.metadata.tables.values():
        for key in table.foreign_keys:
            assert places[key.column.table.name] < places[table.name]


@pytest.mark.parametrize(("place", "words"), list(enums.ENUM_COLUMNS.items()), ids=str)
def test_columns_are_as_wide_as_their_longest_word(
    place: tuple[str, str], words: type[enums.StrEnum]
):
    table, column = place
    assert Base.metadata.tables[table].c[column].type.length == enums.longest(words)


def test_every_bounded_column_has_its_words():
    bounded = {
        (table.name, column.name)
        for table in Base.metadata.tables.values()
        for column in table.columns
        if table.name != "file" and isinstance(column.type, sa.String) and column.type.length
    }
    assert bounded == set(enums.ENUM_COLUMNS)


def test_the_words_are_those_of_the_sheet():
    assert {
        f"{table}.{column}": " ".join(words)
        for (table, column), words in enums.ENUM_COLUMNS.items()
    } == {
        "annotation_file.source": "dataset_author community portal_standard",
        "alignment.alignment_method": "projection_matching patch_tracking fiducial_based simulated",
        "alignment.alignment_type": "LOCAL GLOBAL",
        "annotation.method_type": "manual automated hybrid simulated",
        "annotation_shape.shape_type": "SegmentationMask OrientedPoint Point InstanceSegmentation InstanceSegmentationMask Mesh GlobalCaption AnnotationCaption",
        "annotation_method_link.link_type": "documentation models_weights other source_code website",
        "deposition_type.type": "annotation dataset tomogram",
        "dataset.sample_type": "cell cell_line in_silico in_vitro organelle organism organoid other primary_cell_culture tissue virus",
        "tiltseries.microscope_manufacturer": "FEI TFS JEOL SIMULATED",
        "tomogram.fiducial_alignment_status": "FIDUCIAL NON_FIDUCIAL",
        "tomogram.processing": "denoised filtered raw filtered_even filtered_odd",
        "tomogram.reconstruction_method": "SART Fourier_Space SIRT WBP Unknown",
    }
