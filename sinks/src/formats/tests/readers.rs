//! What programs of others read in the tables of all three formats.

use super::*;
use std::io::Write;

/// Runs `tests/readers/check.py` over the data directory, where `tests/readers/setup.sh` has been run.
fn independent_readers(folder: &Path) -> Option<serde_json::Value> {
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache/thermocline/venv"));
    let venv = std::env::var_os("THERMOCLINE_READERS").map(Into::into).or(home)?;
    let python = venv.join("bin/python");
    if !python.exists() {
        assert!(std::env::var_os("THERMOCLINE_REQUIRE_READERS").is_none(), "run tests/readers/setup.sh");
        // Not `println!`: the test runner keeps that to itself when a test passes.
        let _ =
            writeln!(std::io::stdout(), "\nskipped: there is no {}; tests/readers/setup.sh makes it", python.display());
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/readers/check.py");
    let ran = std::process::Command::new(python).arg(script).arg(folder).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    Some(serde_json::from_slice(&ran.stdout).unwrap())
}

#[tokio::test]
async fn independent_readers_agree_on_rows_and_checksums() {
    let rig = Rig::new();
    let formats = rig.formats();
    let mut expected = serde_json::Map::new();
    for (schema, count) in [(chat(), 1000), (odd(), 100)] {
        for tier in Tier::ALL {
            let (table, _) = create(&formats, &rig, &schema, tier).await;
            rollup(&formats, &rig, &schema, &table, 2, 0, count).await;
            let given_up = mark(&rig, &table, 3);
            let at = formats.search(&given_up.intent, None).await.unwrap();
            formats.commit(&given_up, &[], &at).await.unwrap();
            let mut wider = schema.clone();
            wider.columns.push(Field::new("late column", DataType::Utf8, true));
            let evolve = mark(&rig, &table, 4);
            let at = formats.search(&evolve.intent, None).await.unwrap();
            formats.evolve(&wider, &evolve, &at).await.unwrap();
            let head = rollup(&formats, &rig, &wider, &table, 5, count, 50).await;
            let head = formats.maintain(&mark(&rig, &table, 6), &head, 0).await.unwrap().unwrap_or(head);
            let mut sum = fingerprint::Fingerprint::default();
            sum.add(&read(&formats, &wider, &table, &head).await).unwrap();
            assert_eq!(sum.rows, count as u64 + 50);
            let told = serde_json::json!({
                "rows": sum.rows, "checksum": format!("{:016x}", sum.checksum), "table": table.name.as_str()
            });
            expected.insert(table.to_string(), told);
        }
    }
    if let Some(found) = independent_readers(rig.folder.path()) {
        assert_eq!(found, serde_json::Value::Object(expected));
    }
}

#[tokio::test]
async fn external_readers_are_told_how_complete_a_table_is() {
    let (rig, schema) = (Rig::new(), chat());
    let formats = rig.formats();
    let (table, _) = create(&formats, &rig, &schema, Tier::Cold).await;
    rollup(&formats, &rig, &schema, &table, 2, 0, 3).await;
    let catalog = library_catalog(&rig).await;
    let ident = iceberg::TableIdent::from_strs(["thermocline", "chat"]).unwrap();
    let iceberg = iceberg::Catalog::load_table(&catalog, &ident).await.unwrap();
    let properties = iceberg.metadata().properties();
    assert_eq!(properties.get(key::CUT).map(String::as_str), Some("12"));
    assert_eq!(properties.get(key::LEAST_WATERMARK).map(String::as_str), Some("5000000"));
    let summary = &iceberg.metadata().current_snapshot().unwrap().summary().additional_properties;
    assert_eq!(summary.get(key::INTENT).map(String::as_str), Some("2"));
    rollup(&formats, &rig, &schema, &table, 3, 3, 3).await;
    let iceberg = iceberg::Catalog::load_table(&catalog, &ident).await.unwrap();
    assert_eq!(
        iceberg.metadata().properties().get(key::LEAST_WATERMARK),
        None,
        "a watermark that is not known is not told"
    );
}
