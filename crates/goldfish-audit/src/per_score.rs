//! Statistics by score, in files.

use std::collections::BTreeMap;
use std::ops::Index;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};

use crate::score::{SCORES, Score, Statistic, score};
use crate::stat::{Difference, Mean};

/// A type of statistic that scores may have.
pub trait ScoreStatistic: Copy + Serialize + JsonSchema + for<'de> Deserialize<'de> {
    /// Scores that have it.
    const STATISTIC: Statistic;
    /// Name of the object of all of them in schemas.
    const OBJECT: &'static str;
    /// What that object is, unless its fields are those of another object.
    const MEANING: Option<&'static str>;
}

impl ScoreStatistic for Mean {
    const STATISTIC: Statistic = Statistic::Mean;
    const OBJECT: &'static str = "Means";
    const MEANING: Option<&'static str> = None;
}

impl ScoreStatistic for Difference {
    const STATISTIC: Statistic = Statistic::Difference;
    const OBJECT: &'static str = "Excess";
    const MEANING: Option<&'static str> = Some("Differences of the scores of two sets, or of two runs.");
}

/// A statistic of each score that has it: in JSON an object with a field a score, in the order of [`SCORES`].
///
/// ```
/// use goldfish_audit::stat::Difference;
/// use goldfish_audit::summary::PerScore;
///
/// let none = PerScore::new(|_| Difference { difference: None, lower: None, upper: None });
/// assert_eq!(none["rouge_l"].difference, None);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct PerScore<T>(Vec<T>);

fn scores_with(statistic: Statistic) -> impl Iterator<Item = &'static Score> {
    SCORES.iter().copied().filter(move |score| score.has(statistic))
}

impl<T: ScoreStatistic> PerScore<T> {
    /// Makes the statistic of each score.
    pub fn new(make: impl FnMut(&'static Score) -> T) -> Self {
        Self(scores_with(T::STATISTIC).map(make).collect())
    }

    /// The scores with their statistic.
    pub fn iter(&self) -> impl Iterator<Item = (&'static Score, &T)> {
        scores_with(T::STATISTIC).zip(&self.0)
    }

    /// The statistic of the score of a name; `None` if there is no such score, or it doesn't have the statistic.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&T> {
        self.iter().find(|(score, _)| score.name == name).map(|(_, found)| found)
    }
}

/// As [`get`](PerScore::get). Panics where that is `None`.
impl<T: ScoreStatistic> Index<&str> for PerScore<T> {
    type Output = T;

    fn index(&self, name: &str) -> &T {
        match self.get(name) {
            Some(found) => found,
            None => panic!("no score {name:?} with this statistic"),
        }
    }
}

impl<T: ScoreStatistic> Serialize for PerScore<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(score, statistic)| (score.name, statistic)))
    }
}

impl<'de, T: ScoreStatistic> Deserialize<'de> for PerScore<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Where it is flattened, the object has other fields.
        let mut fields = BTreeMap::<String, Value>::deserialize(deserializer)?;
        let statistic = |score: &Score| {
            let field = fields.remove(score.name).ok_or_else(|| de::Error::missing_field(score.name))?;
            T::deserialize(field).map_err(de::Error::custom)
        };
        let found = scores_with(T::STATISTIC).map(statistic).collect::<Result<_, _>>().map(Self)?;
        match fields.keys().next().filter(|_| T::MEANING.is_some()) {
            Some(unknown) => Err(de::Error::custom(format!("unknown field `{unknown}`"))),
            None => Ok(found),
        }
    }
}

impl<T: ScoreStatistic> JsonSchema for PerScore<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::OBJECT.into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut properties = Map::new();
        for score in scores_with(T::STATISTIC) {
            let mut schema = generator.subschema_for::<T>();
            schema.insert("description".into(), score.meaning.into());
            properties.insert(score.name.into(), schema.into());
        }
        let required: Vec<&str> = scores_with(T::STATISTIC).map(|score| score.name).collect();
        let mut schema = json_schema!({ "type": "object", "properties": properties, "required": required });
        if let Some(meaning) = T::MEANING {
            schema.insert("description".into(), meaning.into());
            schema.insert("additionalProperties".into(), false.into());
        }
        schema
    }
}

/// A score that separates audited from control probes: in JSON its name.
#[derive(Debug, Clone, Copy)]
pub struct MembershipScore(pub &'static Score);

impl PartialEq for MembershipScore {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl MembershipScore {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        scores_with(Statistic::Membership).map(Self)
    }
}

impl Serialize for MembershipScore {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.name)
    }
}

impl<'de> Deserialize<'de> for MembershipScore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let found = score(&name).filter(|score| score.has(Statistic::Membership));
        found.map(Self).ok_or_else(|| de::Error::custom(format!("{name:?} is no membership score")))
    }
}

impl JsonSchema for MembershipScore {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "MembershipScore".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let choice = |Self(score)| json_schema!({ "description": score.meaning, "type": "string", "const": score.name });
        let choices: Vec<Schema> = Self::all().map(choice).collect();
        json_schema!({ "description": "A membership score.", "oneOf": choices })
    }
}
