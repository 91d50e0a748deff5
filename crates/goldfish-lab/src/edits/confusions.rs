//! Characters that character recognition takes for each other.

/// Groups of forms that look alike; each may be read as any other of its group.
const ALIKE: [&[&str]; 62] = [
    &["rn", "m"],
    &["nn", "rm"],
    &["vv", "w"],
    &["cl", "d"],
    &["li", "h"],
    &["ii", "u"],
    &["l", "1", "I"],
    &["i", "j", "l"],
    &["O", "0", "Q"],
    &["o", "c", "e"],
    &["S", "5"],
    &["B", "8", "R"],
    &["Z", "2"],
    &["G", "6", "C"],
    &["q", "9", "g"],
    &["b", "h", "6"],
    &["u", "n"],
    &["a", "o"],
    &["t", "f", "r"],
    &["s", "f"],
    &["v", "y"],
    &["E", "F"],
    &["D", "O"],
    &["M", "N"],
    &["3", "8"],
    &["7", "1"],
    &["ä", "a"],
    &["ö", "o"],
    &["ü", "u", "ii"],
    &["ß", "B"],
    &["é", "è", "e"],
    &["ç", "c"],
    &["и", "н", "п"],
    &["п", "л"],
    &["ш", "щ"],
    &["ь", "ъ"],
    &["е", "с"],
    &["о", "а"],
    &["ν", "υ"],
    &["ο", "σ"],
    &["ד", "ר"],
    &["ה", "ח"],
    &["ו", "ז"],
    &["ب", "ت", "ث"],
    &["ج", "ح", "خ"],
    &["د", "ذ"],
    &["س", "ش"],
    &["घ", "ध"],
    &["भ", "म"],
    &["ब", "व"],
    &["ค", "ด"],
    &["ผ", "พ"],
    &["ถ", "ภ"],
    &["人", "入"],
    &["己", "已", "巳"],
    &["日", "曰", "目"],
    &["土", "士"],
    &["未", "末"],
    &["大", "太", "犬"],
    &["ソ", "ン"],
    &["シ", "ツ"],
    &["は", "ほ"],
];

/// What the start of a text may be read as: pairs of the form that is there and another one.
pub(super) fn confusions(text: &str) -> Vec<(&'static str, &'static str)> {
    let mut found = Vec::new();
    for group in ALIKE {
        for form in group.iter().filter(|form| text.starts_with(**form)) {
            found.extend(group.iter().filter(|other| *other != form).map(|other| (*form, *other)));
        }
    }
    found
}
