//! Header changes of weighted clusters, routes, virtual hosts and RouteConfigurations (`request_headers_to_add` and kin).
use super::Matched;
use crate::http::{Headers, RequestHead, ResponseHead};
use crate::record::Record;
use crate::snapshot::{AppendAction, HeaderAdd, HeaderChanges, WeightedCluster};
use crate::template;
use smallvec::SmallVec;

/// Make the changes of all levels to a request. `scratch` is overwritten; `record.request` is taken to be `head`.
///
/// A weighted cluster's come first, then the route's, the virtual host's, the RouteConfiguration's, so the last one
/// wins; `most_specific_header_mutations_wins` turns the last three round (Envoy, "Custom request/response headers").
pub fn apply_request(
    head: &mut RequestHead,
    matched: &Matched<'_>,
    weighted: Option<&WeightedCluster>,
    record: &Record<'_>,
    scratch: &mut Vec<u8>,
) {
    let levels = [
        &matched.route.request_headers,
        &matched.virtual_host.request_headers,
        &matched.config.request_headers,
    ];
    let first = weighted.map(|cluster| &cluster.request_headers);
    for changes in in_order(levels, first, matched.config.most_specific_wins) {
        apply_changes(head, changes, record, scratch);
    }
}

/// Make the changes of all levels to a response; `record.response` is taken to be `head`.
pub fn apply_response(
    head: &mut ResponseHead,
    matched: &Matched<'_>,
    weighted: Option<&WeightedCluster>,
    record: &Record<'_>,
    scratch: &mut Vec<u8>,
) {
    let levels = [
        &matched.route.response_headers,
        &matched.virtual_host.response_headers,
        &matched.config.response_headers,
    ];
    let first = weighted.map(|cluster| &cluster.response_headers);
    for changes in in_order(levels, first, matched.config.most_specific_wins) {
        apply_changes(head, changes, record, scratch);
    }
}

fn in_order<'a>(
    mut levels: [&'a HeaderChanges; 3],
    first: Option<&'a HeaderChanges>,
    most_specific_wins: bool,
) -> impl Iterator<Item = &'a HeaderChanges> {
    if most_specific_wins {
        levels.reverse();
    }
    let is_change = |changes: &&HeaderChanges| !(changes.remove.is_empty() && changes.add.is_empty());
    first.into_iter().chain(levels).filter(is_change)
}

/// A head that changes can be made to.
pub trait Changeable {
    /// Its fields.
    fn fields(&mut self) -> &mut Headers;
    /// A record in which this head is what it is at the moment.
    fn seen<'b>(&'b self, record: &Record<'b>) -> Record<'b>;
}

impl Changeable for RequestHead {
    fn fields(&mut self) -> &mut Headers {
        &mut self.headers
    }

    fn seen<'b>(&'b self, record: &Record<'b>) -> Record<'b> {
        Record { request: Some(self), ..*record }
    }
}

impl Changeable for ResponseHead {
    fn fields(&mut self) -> &mut Headers {
        &mut self.headers
    }

    fn seen<'b>(&'b self, record: &Record<'b>) -> Record<'b> {
        Record { response: Some(self), ..*record }
    }
}

/// One addition that is to be made: which, and where its value ends in the text.
type Planned<'a> = SmallVec<[(&'a HeaderAdd, usize); 8]>;

/// Make one level's changes: removals, then every value is made from what is there, then overwriting, then adding.
pub fn apply_changes<H: Changeable>(
    head: &mut H,
    changes: &HeaderChanges,
    record: &Record<'_>,
    scratch: &mut Vec<u8>,
) {
    for name in &changes.remove {
        head.fields().remove_name(name);
    }
    if !changes.add.is_empty() {
        add_headers(head, &changes.add, record, scratch);
    }
}

/// Make additions only (`headers_to_add` of a `ResponseMapper`).
pub(crate) fn add_headers<H: Changeable>(
    head: &mut H,
    additions: &[HeaderAdd],
    record: &Record<'_>,
    scratch: &mut Vec<u8>,
) {
    scratch.clear();
    let planned = plan(&head.seen(record), additions, scratch);
    let fields = head.fields();
    let missing: SmallVec<[bool; 8]> =
        planned.iter().map(|(addition, _)| fields.get_name(&addition.name).is_none()).collect();
    for overwrites in [true, false] {
        let mut start = 0;
        for ((addition, end), is_missing) in planned.iter().zip(&missing) {
            let value = &scratch[start..*end];
            start = *end;
            carry_out(fields, addition, value, *is_missing, overwrites);
        }
    }
}

fn plan<'a>(record: &Record<'_>, additions: &'a [HeaderAdd], text: &mut Vec<u8>) -> Planned<'a> {
    let mut planned = Planned::new();
    for addition in additions {
        let start = text.len();
        template::render_or_empty(&addition.value, record, text);
        if text.len() > start || addition.keep_empty {
            planned.push((addition, text.len()));
        }
    }
    planned
}

fn carry_out(fields: &mut Headers, addition: &HeaderAdd, value: &[u8], is_missing: bool, overwrites: bool) {
    use AppendAction::{AddIfAbsent, AppendIfExistsOrAdd, OverwriteIfExists, OverwriteIfExistsOrAdd};
    let name = &addition.name;
    match (addition.action, overwrites) {
        (OverwriteIfExistsOrAdd, true) => fields.set_name(name, value),
        (OverwriteIfExists, true) if !is_missing => fields.set_name(name, value),
        (AppendIfExistsOrAdd, false) => fields.push(name, value),
        (AddIfAbsent, false) if is_missing => fields.push(name, value),
        _ => (),
    }
}
