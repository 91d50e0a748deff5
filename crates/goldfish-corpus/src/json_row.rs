//! A JSON object as a document with the columns that are read.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::options::{Content, MASK_COLUMNS, ReadOptions};
use crate::paths::{find, inside};

/// The parts of one line that are read.
pub(crate) struct Row<'de> {
    pub(crate) content: RowContent<'de>,
    pub(crate) id: Option<&'de RawValue>,
    /// Values of the column with the existing mask.
    pub(crate) existing: Option<Vec<f64>>,
    /// Carried columns, then conditions.
    pub(crate) columns: Vec<Option<&'de RawValue>>,
    /// A column that seems to hold a mask, though no option names it.
    pub(crate) unnamed_mask: Option<&'static str>,
}

/// The column that holds the documents.
pub(crate) enum RowContent<'de> {
    Missing,
    Null,
    Text(Cow<'de, str>),
    /// Token ids, which went into the batch.
    Ids,
}

impl RowContent<'_> {
    fn is_missing(&self) -> bool {
        matches!(self, Self::Missing)
    }
}

impl Row<'_> {
    /// The keys of a line, for an error message.
    pub(crate) fn keys(&self, line: &str) -> String {
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(line).unwrap_or_default();
        let names: Vec<_> = object.keys().take(20).map(|key| format!("{key:?}")).collect();
        if names.is_empty() { "none".into() } else { names.join(", ") }
    }
}

/// serde's message, without the line and the column.
pub(crate) fn without_place(error: &serde_json::Error) -> String {
    let mut message = error.to_string();
    if let Some(end) = message.rfind(" at line ") {
        message.truncate(end);
    }
    message
}

/// Reads a line; ids are appended.
pub(crate) struct RowSeed<'a> {
    pub(crate) options: &'a ReadOptions,
    pub(crate) ids: &'a mut Vec<i32>,
}

impl<'de> DeserializeSeed<'de> for RowSeed<'_> {
    type Value = Row<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_> {
    type Value = Row<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let options = self.options;
        let mut row = Row {
            content: RowContent::Missing,
            id: None,
            existing: None,
            columns: vec![None; options.columns().count()],
            unnamed_mask: None,
        };
        // Which columns have the key itself, not a path into its value.
        let mut whole = vec![false; row.columns.len()];
        // What paths into values lead to; a key of the same name counts instead.
        let (mut content_inside, mut id_inside) = (None, None);
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            let key: &str = &key;
            let twice = || Err(A::Error::custom(format!("the key {key:?} occurs twice")));
            if key == options.content.column() {
                if !row.content.is_missing() {
                    return twice();
                }
                row.content = map.next_value_seed(ContentSeed { key, options, ids: &mut *self.ids })?;
                continue;
            }
            let in_content = rest_inside(options.content.column(), key);
            let in_id = options.id_column.as_deref().and_then(|path| rest_inside(path, key));
            let is_id = options.id_column.as_deref() == Some(key);
            let is_mask = options.existing.column() == Some(key);
            let may_be_mask = options.is_unnamed_mask(key);
            let is_column = options.columns().any(|path| inside(path, key).is_some());
            if !is_id && !is_mask && !may_be_mask && !is_column && in_content.or(in_id).is_none() {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let value = map.next_value::<&'de RawValue>()?;
            content_inside = content_inside.or_else(|| find(value, in_content?));
            id_inside = id_inside.or_else(|| find(value, in_id?));
            if is_mask {
                let mut list = serde_json::Deserializer::from_str(value.get());
                let values = ValuesSeed(key)
                    .deserialize(&mut list)
                    .map_err(|error| A::Error::custom(without_place(&error)))?;
                if row.existing.replace(values).is_some() {
                    return twice();
                }
            }
            if may_be_mask && value.get().starts_with('[') {
                row.unnamed_mask = MASK_COLUMNS.into_iter().find(|name| *name == key);
            }
            if is_id && row.id.replace(value).is_some() {
                return twice();
            }
            for (i, path) in options.columns().enumerate() {
                let Some(rest) = inside(path, key) else { continue };
                if rest.is_empty() {
                    if std::mem::replace(&mut whole[i], true) {
                        return twice();
                    }
                    row.columns[i] = Some(value);
                } else if !whole[i] {
                    row.columns[i] = row.columns[i].or_else(|| find(value, rest));
                }
            }
        }
        if let (true, Some(value)) = (row.content.is_missing(), content_inside) {
            let key = options.content.column();
            let mut value = serde_json::Deserializer::from_str(value.get());
            let seed = ContentSeed { key, options, ids: &mut *self.ids };
            row.content =
                seed.deserialize(&mut value).map_err(|error| A::Error::custom(without_place(&error)))?;
        }
        row.id = row.id.or(id_inside);
        Ok(row)
    }
}

/// What is left of a path that leads into the value of a key; `None` if it is the key itself.
fn rest_inside<'a>(path: &'a str, key: &str) -> Option<&'a str> {
    inside(path, key).filter(|rest| !rest.is_empty())
}

/// The value of the column that holds the documents.
struct ContentSeed<'a> {
    key: &'a str,
    options: &'a ReadOptions,
    ids: &'a mut Vec<i32>,
}

impl<'de> DeserializeSeed<'de> for ContentSeed<'_> {
    type Value = RowContent<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let Self { key, options, ids } = self;
        match options.content {
            Content::Text { .. } => deserializer.deserialize_any(TextVisitor(key)),
            Content::Ids { .. } => deserializer.deserialize_any(IdsVisitor { key, options, ids }),
        }
    }
}

/// A list of numbers or booleans.
struct ValuesSeed<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for ValuesSeed<'_> {
    type Value = Vec<f64>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValuesSeed<'_> {
    type Value = Vec<f64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of booleans or numbers in {:?}", self.0)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element::<MaskValue>()? {
            values.push(match value {
                MaskValue::Boolean(value) => f64::from(u8::from(value)),
                MaskValue::Number(value) => value,
            });
        }
        Ok(values)
    }
}

#[derive(serde::Deserialize)]
#[serde(untagged, expecting = "a boolean or a number")]
enum MaskValue {
    Boolean(bool),
    Number(f64),
}

struct TextVisitor<'a>(&'a str);

impl<'de> Visitor<'de> for TextVisitor<'_> {
    type Value = RowContent<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a string in {:?}", self.0)
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(RowContent::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(RowContent::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(RowContent::Null)
    }
}

struct IdsVisitor<'a> {
    key: &'a str,
    options: &'a ReadOptions,
    ids: &'a mut Vec<i32>,
}

impl<'de> Visitor<'de> for IdsVisitor<'_> {
    type Value = RowContent<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of token ids in {:?}", self.key)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(RowContent::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let last = self.options.last_id();
        let mut position = 0u64;
        while let Some(id) = seq.next_element::<JsonId>()? {
            match id {
                JsonId::Id(id) if id <= last => self.ids.push(id as i32),
                JsonId::Id(id) => {
                    return Err(A::Error::custom(format!(
                        "{}, at position {position}",
                        self.options.id_error(id)
                    )));
                }
                JsonId::Outside(id) => {
                    return Err(A::Error::custom(format!(
                        "{}, at position {position}",
                        self.options.id_error(id)
                    )));
                }
            }
            position += 1;
        }
        Ok(RowContent::Ids)
    }
}

/// An integer in a list of ids.
enum JsonId {
    Id(u32),
    Outside(i128),
}

impl<'de> serde::Deserialize<'de> for JsonId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IdVisitor;
        impl Visitor<'_> for IdVisitor {
            type Value = JsonId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an integer token id")
            }

            fn visit_u64<E: Error>(self, id: u64) -> Result<JsonId, E> {
                Ok(u32::try_from(id).map_or(JsonId::Outside(id.into()), JsonId::Id))
            }

            fn visit_i64<E: Error>(self, id: i64) -> Result<JsonId, E> {
                Ok(JsonId::Outside(id.into()))
            }
        }
        deserializer.deserialize_any(IdVisitor)
    }
}
