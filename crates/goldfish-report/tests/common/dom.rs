//! Pages as a browser would read them.

use html5ever::parse_document;
use html5ever::tendril::TendrilSink;
use markup5ever_rcdom::{Handle, NodeData, RcDom};

/// A parsed page.
pub(crate) struct Page {
    document: Handle,
    /// What a conforming parser complains about.
    pub(crate) errors: Vec<String>,
}

/// An element of a page.
#[derive(Clone)]
pub(crate) struct Element(Handle);

impl Page {
    /// Parses a page.
    pub(crate) fn parse(html: &str) -> Self {
        let dom = parse_document(RcDom::default(), Default::default()).one(html);
        let errors = dom.errors.borrow().iter().map(ToString::to_string).collect();
        Self { document: dom.document, errors }
    }

    /// All elements in order.
    pub(crate) fn elements(&self) -> Vec<Element> {
        let mut found = Vec::new();
        collect(&self.document, &mut found);
        found
    }

    /// The elements with a name.
    pub(crate) fn named(&self, name: &str) -> Vec<Element> {
        self.elements().into_iter().filter(|element| element.name() == name).collect()
    }

    /// The element with an id.
    pub(crate) fn by_id(&self, id: &str) -> Option<Element> {
        self.elements().into_iter().find(|element| element.attribute("id").as_deref() == Some(id))
    }
}

impl Element {
    /// Its name.
    pub(crate) fn name(&self) -> String {
        match &self.0.data {
            NodeData::Element { name, .. } => name.local.to_string(),
            _ => String::new(),
        }
    }

    /// All attributes.
    pub(crate) fn attributes(&self) -> Vec<(String, String)> {
        match &self.0.data {
            NodeData::Element { attrs, .. } => attrs
                .borrow()
                .iter()
                .map(|attribute| (attribute.name.local.to_string(), attribute.value.to_string()))
                .collect(),
            _ => Vec::new(),
        }
    }

    /// The value of an attribute.
    pub(crate) fn attribute(&self, name: &str) -> Option<String> {
        self.attributes().into_iter().find(|(found, _)| found == name).map(|(_, value)| value)
    }

    /// Whether it has a class.
    pub(crate) fn has_class(&self, class: &str) -> bool {
        self.attribute("class").is_some_and(|classes| classes.split(' ').any(|found| found == class))
    }

    /// The elements in it, itself first.
    pub(crate) fn inside(&self) -> Vec<Element> {
        let mut found = Vec::new();
        collect(&self.0, &mut found);
        found
    }

    /// All text in it.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        gather(&self.0, &mut text);
        text
    }

    /// The same with each run of white space as one space.
    pub(crate) fn line(&self) -> String {
        self.text().split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

fn collect(node: &Handle, found: &mut Vec<Element>) {
    if matches!(node.data, NodeData::Element { .. }) {
        found.push(Element(node.clone()));
    }
    node.children.borrow().iter().for_each(|child| collect(child, found));
}

fn gather(node: &Handle, text: &mut String) {
    if let NodeData::Text { contents } = &node.data {
        text.push_str(&contents.borrow());
    }
    node.children.borrow().iter().for_each(|child| gather(child, text));
}
