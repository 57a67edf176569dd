//! The schemas in `schemas/` equal those of this program.

use std::path::Path;

use linerate::schema::SchemaOf;

#[test]
fn filed_schemas_are_current() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas");
    for of in SchemaOf::ALL {
        let filed = std::fs::read_to_string(directory.join(of.file_name())).unwrap_or_default();
        let name = of.file_name().trim_end_matches(".schema.json");
        assert!(
            filed == of.text().unwrap(),
            "schemas/{} is out of date; run: linerate schema {name} > schemas/{}",
            of.file_name(),
            of.file_name()
        );
    }
}
