//! Intents: planned, staged, flipped; one open intent a table.

use super::view::{self, PartRow};
use super::{add_cut, count, from_json, int, table_id, to_json};
use crate::metadata::{
    Flip, Intent, IntentId, IntentKind, IntentPlan, LastFlip, MetaError, Part, PartId, TableVersion,
};
use crate::{Cut, EventTime, Generation, TableId};
use sqlx::SqliteConnection;

fn kind_name(kind: IntentKind) -> &'static str {
    match kind {
        IntentKind::Create => "create",
        IntentKind::Rollup => "rollup",
        IntentKind::Evolve => "evolve",
        IntentKind::Maintain => "maintain",
    }
}

fn kind_of(name: &str) -> Result<IntentKind, MetaError> {
    [IntentKind::Create, IntentKind::Rollup, IntentKind::Evolve, IntentKind::Maintain]
        .into_iter()
        .find(|kind| kind_name(*kind) == name)
        .ok_or_else(|| MetaError::Damaged { what: format!("{name:?} is no kind of intent") })
}

/// Opens an intent under the table's next number.
pub(super) async fn plan(
    connection: &mut SqliteConnection,
    generation: Generation,
    plan: &IntentPlan,
    now: EventTime,
) -> Result<Intent, MetaError> {
    let TableId { name, tier } = &plan.table;
    if let Some(open) = find(connection, &plan.table).await? {
        return Err(MetaError::IntentOpen { open: open.id });
    }
    let revision: Option<(i64,)> = sqlx::query_as("SELECT revision FROM tables WHERE name = ? AND removed_cut IS NULL")
        .bind(name.as_str())
        .fetch_optional(&mut *connection)
        .await?;
    let Some((columns,)) = revision else {
        return Err(MetaError::refused(format!("table {name} is not registered")));
    };
    let exists = last_flip(connection, &plan.table).await?.is_some();
    if exists == (plan.kind == IntentKind::Create) {
        let what = if exists { "exists already" } else { "does not exist yet" };
        return Err(MetaError::refused(format!("table {} {what}", plan.table)));
    }
    let parts = parts(connection, &plan.parts).await?;
    if parts.len() != plan.parts.len() || parts.iter().any(|part| part.part.table != plan.table) {
        return Err(MetaError::refused(format!("a part that {} should take is not staged for it", plan.table)));
    }
    let (number,): (i64,) = sqlx::query_as(
        "INSERT INTO counters (name, tier, newest) VALUES (?, ?, 1)
         ON CONFLICT DO UPDATE SET newest = newest + 1 RETURNING newest",
    )
    .bind(name.as_str())
    .bind(tier.as_str())
    .fetch_one(&mut *connection)
    .await?;
    sqlx::query(
        "INSERT INTO intents (name, tier, number, kind, parts, columns, generation, planned_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(name.as_str())
    .bind(tier.as_str())
    .bind(number)
    .bind(kind_name(plan.kind))
    .bind(to_json(&plan.parts)?)
    .bind(columns)
    .bind(int(generation.0)?)
    .bind(now)
    .execute(connection)
    .await?;
    let id = IntentId { table: plan.table.clone(), number: count(number)? };
    Ok(Intent { id, kind: plan.kind, parts, generation, payload: None, given_up: None })
}

/// Keeps the payload.
pub(super) async fn stage(connection: &mut SqliteConnection, id: &IntentId, payload: &[u8]) -> Result<(), MetaError> {
    match expect(connection, id).await?.payload {
        Some(kept) if kept == payload => Ok(()),
        Some(_) => Err(MetaError::refused(format!("intent {id} is staged already, with another payload"))),
        None => {
            sqlx::query("UPDATE intents SET payload = ? WHERE name = ? AND tier = ?")
                .bind(payload)
                .bind(id.table.name.as_str())
                .bind(id.table.tier.as_str())
                .execute(connection)
                .await?;
            Ok(())
        }
    }
}

/// Remembers who decided to give the intent up; the first decision stands.
pub(super) async fn give_up(
    connection: &mut SqliteConnection,
    generation: Generation,
    id: &IntentId,
) -> Result<(), MetaError> {
    let intent = expect(connection, id).await?;
    if intent.payload.is_none() || intent.kind != IntentKind::Rollup {
        return Err(MetaError::refused(format!("intent {id} is no staged rollup; there is nothing to give up")));
    }
    sqlx::query("UPDATE intents SET given_up = coalesce(given_up, ?) WHERE name = ? AND tier = ?")
        .bind(int(generation.0)?)
        .bind(id.table.name.as_str())
        .bind(id.table.tier.as_str())
        .execute(connection)
        .await?;
    Ok(())
}

/// Closes a staged intent: its parts go, the new version comes, at one cut.
pub(super) async fn flip(
    connection: &mut SqliteConnection,
    generation: Generation,
    id: &IntentId,
    flip: &Flip,
    now: EventTime,
) -> Result<Cut, MetaError> {
    let TableId { name, tier } = &id.table;
    let (name, tier) = (name.as_str(), tier.as_str());
    let intent = match find(connection, &id.table).await?.filter(|intent| intent.id == *id) {
        Some(intent) => intent,
        None => return flipped(connection, id).await,
    };
    if intent.payload.is_none() {
        return Err(MetaError::refused(format!("intent {id} is not staged; no commit of it can exist")));
    }
    let cut = add_cut(connection, kind_name(intent.kind), generation, now).await?;
    let at = int(cut.0)?;

    let (columns,): (i64,) = sqlx::query_as("SELECT columns FROM intents WHERE name = ? AND tier = ?")
        .bind(name)
        .bind(tier)
        .fetch_one(&mut *connection)
        .await?;
    let before: Option<(i64, Option<i64>, Option<i64>, i64)> = sqlx::query_as(
        "UPDATE versions SET removed_cut = ? WHERE name = ? AND tier = ? AND removed_cut IS NULL
         RETURNING rows, least, greatest, columns",
    )
    .bind(at)
    .bind(name)
    .bind(tier)
    .fetch_optional(&mut *connection)
    .await?;
    let (mut rows, mut least, mut greatest, columns_before) = before.unwrap_or((0, None, None, columns));
    let columns = if intent.kind == IntentKind::Evolve { columns } else { columns_before };

    if flip.took_parts && intent.kind == IntentKind::Rollup {
        for Part { part: taken, .. } in &intent.parts {
            rows += int(taken.rows)?;
            least = Some(least.map_or(taken.event_time.0, |least| least.min(taken.event_time.0)));
            greatest = Some(greatest.map_or(taken.event_time.1, |greatest| greatest.max(taken.event_time.1)));
        }
        remove_parts(connection, &intent.parts, at).await?;
    }
    sqlx::query(
        "INSERT INTO versions (name, tier, version, rows, least, greatest, columns, intent, marked_by, added_cut)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(name)
    .bind(tier)
    .bind(&flip.version.0)
    .bind(rows)
    .bind(least)
    .bind(greatest)
    .bind(columns)
    .bind(int(id.number)?)
    .bind(int(flip.marked_by.0)?)
    .bind(at)
    .execute(&mut *connection)
    .await?;
    if intent.kind == IntentKind::Maintain {
        sqlx::query("UPDATE counters SET maintained = ? WHERE name = ? AND tier = ?")
            .bind(int(id.number)?)
            .bind(name)
            .bind(tier)
            .execute(&mut *connection)
            .await?;
    }
    delete(connection, &id.table).await?;
    Ok(cut)
}

/// From cut `at` on, the parts are staged no more.
async fn remove_parts(connection: &mut SqliteConnection, parts: &[Part], at: i64) -> Result<(), MetaError> {
    for part in parts {
        sqlx::query("UPDATE parts SET removed_cut = ? WHERE part = ?")
            .bind(at)
            .bind(part.id.0)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// The cut of an intent that is flipped already.
async fn flipped(connection: &mut SqliteConnection, id: &IntentId) -> Result<Cut, MetaError> {
    let cut: Option<(i64,)> = sqlx::query_as(
        "SELECT added_cut FROM versions WHERE name = ? AND tier = ? AND removed_cut IS NULL AND intent = ?",
    )
    .bind(id.table.name.as_str())
    .bind(id.table.tier.as_str())
    .bind(int(id.number)?)
    .fetch_optional(connection)
    .await?;
    let (cut,) = cut.ok_or_else(|| MetaError::NoIntent { id: id.clone() })?;
    Ok(Cut(count(cut)?))
}

/// Deletes an intent that has no payload.
pub(super) async fn drop_planned(connection: &mut SqliteConnection, id: &IntentId) -> Result<(), MetaError> {
    match find(connection, &id.table).await?.filter(|intent| intent.id == *id) {
        None => Ok(()),
        Some(intent) if intent.payload.is_some() => {
            Err(MetaError::refused(format!("intent {id} is staged; its commit may exist")))
        }
        Some(_) => delete(connection, &id.table).await,
    }
}

async fn delete(connection: &mut SqliteConnection, table: &TableId) -> Result<(), MetaError> {
    sqlx::query("DELETE FROM intents WHERE name = ? AND tier = ?")
        .bind(table.name.as_str())
        .bind(table.tier.as_str())
        .execute(connection)
        .await?;
    Ok(())
}

type IntentRow = (String, String, i64, String, String, i64, Option<Vec<u8>>, Option<i64>);
const INTENT: &str = "SELECT name, tier, number, kind, parts, generation, payload, given_up FROM intents";

async fn intent(connection: &mut SqliteConnection, row: IntentRow) -> Result<Intent, MetaError> {
    let (name, tier, number, kind, taken, generation, payload, given_up) = row;
    let id = IntentId { table: table_id(&name, &tier)?, number: count(number)? };
    let parts = parts(connection, &from_json::<Vec<PartId>>(&taken)?).await?;
    let generation = Generation(count(generation)?);
    let given_up = given_up.map(count).transpose()?.map(Generation);
    Ok(Intent { id, kind: kind_of(&kind)?, parts, generation, payload, given_up })
}

/// The open intent of a table.
async fn find(connection: &mut SqliteConnection, table: &TableId) -> Result<Option<Intent>, MetaError> {
    let row: Option<IntentRow> = sqlx::query_as(&format!("{INTENT} WHERE name = ? AND tier = ?"))
        .bind(table.name.as_str())
        .bind(table.tier.as_str())
        .fetch_optional(&mut *connection)
        .await?;
    match row {
        Some(row) => Ok(Some(intent(connection, row).await?)),
        None => Ok(None),
    }
}

async fn expect(connection: &mut SqliteConnection, id: &IntentId) -> Result<Intent, MetaError> {
    let open = find(connection, &id.table).await?.filter(|intent| intent.id == *id);
    open.ok_or_else(|| MetaError::NoIntent { id: id.clone() })
}

/// All open intents, oldest first.
pub(super) async fn open(connection: &mut SqliteConnection) -> Result<Vec<Intent>, MetaError> {
    let rows: Vec<IntentRow> =
        sqlx::query_as(&format!("{INTENT} ORDER BY planned_at, name, tier")).fetch_all(&mut *connection).await?;
    let mut intents = Vec::with_capacity(rows.len());
    for row in rows {
        intents.push(intent(connection, row).await?);
    }
    Ok(intents)
}

/// The parts of these numbers that are still staged, oldest first.
async fn parts(connection: &mut SqliteConnection, ids: &[PartId]) -> Result<Vec<Part>, MetaError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let query = format!(
        "{} WHERE parts.removed_cut IS NULL AND parts.part IN (SELECT value FROM json_each(?)) ORDER BY parts.part",
        view::PART
    );
    let rows: Vec<PartRow> = sqlx::query_as(&query).bind(to_json(&ids)?).fetch_all(connection).await?;
    rows.into_iter().map(view::part).collect()
}

/// What the table's newest version says.
pub(super) async fn last_flip(
    connection: &mut SqliteConnection,
    table: &TableId,
) -> Result<Option<LastFlip>, MetaError> {
    let row: Option<(i64, String, i64, i64)> = sqlx::query_as(
        "SELECT intent, version, marked_by, maintained FROM versions JOIN counters USING (name, tier)
         WHERE name = ? AND tier = ? AND removed_cut IS NULL",
    )
    .bind(table.name.as_str())
    .bind(table.tier.as_str())
    .fetch_optional(connection)
    .await?;
    let Some((intent, version, marked_by, maintained)) = row else { return Ok(None) };
    let generation = Generation(count(marked_by)?);
    let maintained = count(maintained)?;
    Ok(Some(LastFlip { intent: count(intent)?, version: TableVersion(version), generation, maintained }))
}
