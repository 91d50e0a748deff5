//! Values that may be missing.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The value without each of its members that may be missing, one at a time, with the member's place. Of a list the first item stands
/// for all.
pub(crate) fn without_each<T: Serialize + DeserializeOwned>(whole: &T) -> Vec<(String, T)> {
    let json = serde_json::to_value(whole).unwrap();
    let mut places = Vec::new();
    walk(&json, String::new(), &mut places);
    let without = |place: String| {
        let mut json = json.clone();
        *json.pointer_mut(&place).unwrap() = Value::Null;
        Some((place, serde_json::from_value(json).ok()?))
    };
    places.into_iter().filter_map(without).collect()
}

fn walk(value: &Value, place: String, places: &mut Vec<String>) {
    if value.is_null() {
        return;
    }
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, member)| walk(member, format!("{place}/{name}"), places));
        }
        Value::Array(items) => items.iter().take(1).for_each(|item| walk(item, format!("{place}/0"), places)),
        _ => (),
    }
    places.push(place);
}
