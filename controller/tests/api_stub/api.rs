//! The stub's responses to requests.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::body::{Bytes, Incoming};
use hyper::{Request, header};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::agent::BACKEND;
use super::answer::{self, Answer};
use super::faults::{Effect, strike};
use super::objects::{Key, has_fields, has_labels};
use super::request::Asked;
use super::state::{NAMESPACE, State};
use super::{forward, kubelet, security, watching};

/// Time between the deletion and the removal of a pod.
const DELETION_TIME: Duration = Duration::from_millis(30);

pub async fn serve(state: Arc<State>, request: Request<Incoming>) -> Result<Answer, std::io::Error> {
    let (mut parts, body) = request.into_parts();
    let accept = parts.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let query = parts.uri.query().unwrap_or_default();
    let Some(asked) = Asked::parse(parts.method.as_str(), parts.uri.path(), query, accept) else {
        return Ok(answer::error(404, "NotFound", "the server could not find the requested resource"));
    };
    let body = http_body_util::BodyExt::collect(body).await.map_err(std::io::Error::other)?.to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let name = asked.name.clone().or_else(|| body["metadata"]["name"].as_str().map(str::to_owned));
    state.requests.lock().unwrap().push(asked.clone());
    if !state.role.allows(&asked) {
        return Ok(refuse(&state, &asked));
    }
    if asked.resource == "pods/portforward" && !state.is_old.load(Ordering::Relaxed) {
        // The upgrade is a GET; from 1.35 on the server also requires `create`.
        let created = Asked { verb: "create", ..asked.clone() };
        state.requests.lock().unwrap().push(created.clone());
        if !state.role.allows(&created) {
            refuse(&state, &created);
            let message = format!("pods \"{}\" is forbidden: ", name.unwrap_or_default());
            return Ok(answer::error(403, "Forbidden", &message));
        }
    }
    let effect = strike(&mut state.faults.lock().unwrap(), &asked, name.as_deref());
    match &effect {
        Some(Effect::Answer { code, reason, message }) => return Ok(answer::error(*code, reason, message)),
        Some(Effect::Busy { seconds }) => return Ok(answer::busy(*seconds)),
        Some(Effect::Late(time)) => tokio::time::sleep(*time).await,
        _ => {}
    }
    if asked.resource == "pods/portforward" {
        return Ok(forward::open(&state, asked.name.as_deref().unwrap_or_default(), &mut parts));
    }
    if asked.verb == "watch" {
        return Ok(watching::watch(state, asked, effect));
    }
    let answer = act(&state, &asked, body);
    match effect {
        Some(Effect::DoneAndDenied { code }) => {
            Ok(answer::error(code, "InternalError", "etcdserver: request timed out"))
        }
        Some(Effect::Torn) => Ok(torn(answer).await),
        _ => Ok(answer),
    }
}

fn refuse(state: &State, asked: &Asked) -> Answer {
    let (verb, resource) = (asked.verb, &asked.resource);
    state.refused.lock().unwrap().insert(format!("{verb} {resource}"));
    let (kind, name) = (resource.split('/').next().unwrap_or_default(), asked.name.as_deref());
    let object = name.map(|name| format!(" \"{name}\"")).unwrap_or_default();
    let place = asked
        .namespace
        .as_ref()
        .map_or("at the cluster scope".to_owned(), |n| format!("in the namespace \"{n}\""));
    let group = &asked.group;
    let message = format!(
        "{kind}{object} is forbidden: User \"tester\" cannot {verb} resource \"{resource}\" in API group \"{group}\" {place}"
    );
    answer::error(403, "Forbidden", &message)
}

/// The first half of a response, then silence.
async fn torn(whole: Answer) -> Answer {
    let bytes = http_body_util::BodyExt::collect(whole.into_body()).await.unwrap().to_bytes();
    let (pieces, from) = mpsc::channel(2);
    let half: Bytes = bytes.slice(..bytes.len() / 2);
    pieces.send(Ok(half)).await.unwrap();
    pieces.send(Err(answer::cut())).await.unwrap();
    answer::pieces(from)
}

fn act(state: &Arc<State>, asked: &Asked, body: Value) -> Answer {
    let key: Key = (
        asked.resource.clone(),
        asked.namespace.clone().unwrap_or_default(),
        asked.name.clone().unwrap_or_default(),
    );
    match (asked.verb, asked.resource.as_str()) {
        ("create", "selfsubjectaccessreviews") => review(state, body),
        ("get", "pods/log") => log(state, &key.2),
        ("get", _) => match state.objects().get(&key) {
            Some(object) => answer::object(200, &shown(asked, &object)),
            None => not_found(asked),
        },
        ("list", _) => list(state, asked),
        ("create", _) => create(state, asked, body),
        ("patch", _) => patch(state, asked, &key, body),
        ("delete", _) => delete(state, asked, &key, &body),
        _ => answer::error(405, "MethodNotAllowed", "the stub does not do that"),
    }
}

fn not_found(asked: &Asked) -> Answer {
    let name = asked.name.as_deref().unwrap_or_default();
    answer::error(404, "NotFound", &format!("{} \"{name}\" not found", asked.resource))
}

fn review(state: &State, mut body: Value) -> Answer {
    let wanted = &body["spec"]["resourceAttributes"];
    let text = |key: &str| wanted[key].as_str().unwrap_or_default().to_owned();
    let sub = wanted["subresource"].as_str().map(|sub| format!("/{sub}")).unwrap_or_default();
    let resource = format!("{}{sub}", text("resource"));
    let allowed = state.role.has(&text("verb"), &text("group"), &resource, &text("name"));
    body["status"] = json!({"allowed": allowed});
    answer::object(201, &body)
}

fn shown(asked: &Asked, object: &Value) -> Value {
    if asked.is_partial {
        let metadata = &object["metadata"];
        return json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata});
    }
    object.clone()
}

fn list(state: &State, asked: &Asked) -> Answer {
    let wanted = |key: &Key, object: &Value| {
        key.0 == asked.resource
            && asked.namespace.as_ref().is_none_or(|namespace| *namespace == key.1)
            && has_labels(object, asked.parameter("labelSelector"))
            && has_fields(object, asked.parameter("fieldSelector"))
    };
    let objects = state.objects();
    let found = objects.find(wanted);
    let first: usize = asked.parameter("continue").parse().unwrap_or(0);
    let limit: usize = asked.parameter("limit").parse().unwrap_or(usize::MAX);
    let page: Vec<Value> =
        found.iter().skip(first).take(limit).map(|(_, object)| shown(asked, object)).collect();
    let next = first + page.len();
    let metadata = json!({
        "resourceVersion": objects.version.to_string(),
        "continue": if next < found.len() { next.to_string() } else { String::new() },
    });
    answer::object(200, &json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": page}))
}

fn create(state: &Arc<State>, asked: &Asked, mut body: Value) -> Answer {
    let namespace = asked.namespace.clone().unwrap_or_default();
    if namespace != NAMESPACE {
        return answer::error(404, "NotFound", &format!("namespaces \"{namespace}\" not found"));
    }
    let name = body["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let key: Key = (asked.resource.clone(), namespace, name.clone());
    if state.objects().get(&key).is_some() {
        let message = format!("{} \"{name}\" already exists", asked.resource);
        return answer::error(409, "AlreadyExists", &message);
    }
    let mut warning = None;
    if asked.resource == "pods" {
        if let Some(violated) = security::violation(*state.enforced.lock().unwrap(), &body) {
            let message = format!("pods \"{name}\" is forbidden: violates PodSecurity {violated}");
            return answer::error(403, "Forbidden", &message);
        }
        warning = security::violation(*state.warned.lock().unwrap(), &body);
    }
    if asked.resource == "persistentvolumeclaims" && body["spec"]["storageClassName"].is_null() {
        // As admission does: sets the cluster's default class, if there is one.
        let classes = state.objects().find(|key, _| key.0 == "storageclasses");
        body["spec"]["storageClassName"] = classes.first().map_or(Value::Null, |(key, _)| json!(key.2));
    }
    let told = |mut answer: Answer| {
        if let Some(violated) = &warning {
            let text = format!("would violate PodSecurity {violated}").replace('"', "\\\"");
            answer.headers_mut().insert(header::WARNING, format!("299 - \"{text}\"").parse().unwrap());
        }
        answer
    };
    if asked.is_dry_run() {
        return told(answer::object(201, &body));
    }
    if asked.resource == "pods" {
        body["status"] = json!({"phase": "Pending"});
    }
    if asked.resource == "leases" {
        shift_clock(state, &mut body);
    }
    if asked.resource == "services" {
        body["spec"]["clusterIP"] = json!("10.96.0.7");
    }
    let made = state.alter(|objects| objects.put(&key, body));
    if asked.resource == "services" {
        fill_service(state, &made);
    }
    if asked.resource == "pods" {
        kubelet::take(state.clone(), name);
    }
    told(answer::object(201, &made))
}

/// What the cluster does for a Service: its backends are ready.
fn fill_service(state: &State, service: &Value) {
    let name = service["metadata"]["name"].as_str().unwrap_or_default();
    let owner =
        json!({"apiVersion": "v1", "kind": "Service", "name": name, "uid": service["metadata"]["uid"]});
    let slice = json!({
        "metadata": {"name": format!("{name}-1"), "labels": {"kubernetes.io/service-name": name}, "ownerReferences": [owner]},
        "endpoints": [{"addresses": [BACKEND], "conditions": {"ready": true}}],
    });
    let key = ("endpointslices".to_owned(), NAMESPACE.to_owned(), format!("{name}-1"));
    state.alter(|objects| objects.put(&key, slice));
}

/// Shifts the times that a controller writes, as if its clock were wrong.
fn shift_clock(state: &State, lease: &mut Value) {
    let seconds = state.clocks_are_ahead_s.load(Ordering::Relaxed);
    for field in ["renewTime", "acquireTime"] {
        if let Some(time) = lease["spec"][field].as_str() {
            let time: k8s_openapi::jiff::Timestamp = time.parse().unwrap();
            lease["spec"][field] =
                json!((time + k8s_openapi::jiff::SignedDuration::from_secs(seconds)).to_string());
        }
    }
}

fn conflict(asked: &Asked, name: &str, what: &str, asked_for: &str, there: &str) -> Answer {
    let more = if what == "UID" { "deleted and then recreated" } else { "modified" };
    let message = format!(
        "Operation cannot be fulfilled on {} \"{name}\": the {what} in the precondition ({asked_for}) does not match the {what} in record \
         ({there}). The object might have been {more}",
        asked.resource
    );
    answer::error(409, "Conflict", &message)
}

/// The response to a request whose preconditions, or metadata in a patch, do not match.
fn unfit(asked: &Asked, object: &Value, wanted: &Value) -> Option<Answer> {
    [("UID", "uid"), ("ResourceVersion", "resourceVersion")].into_iter().find_map(|(what, field)| {
        let there = object["metadata"][field].as_str().unwrap_or_default();
        let asked_for = wanted[field].as_str().filter(|asked_for| *asked_for != there)?;
        Some(conflict(asked, asked.name.as_deref().unwrap_or_default(), what, asked_for, there))
    })
}

fn patch(state: &State, asked: &Asked, key: &Key, mut body: Value) -> Answer {
    let Some(object) = state.objects().get(key) else { return not_found(asked) };
    if let Some(answer) = unfit(asked, &object, &body["metadata"]) {
        return answer;
    }
    if asked.resource == "leases" {
        shift_clock(state, &mut body);
    }
    match state.alter(|objects| objects.change(key, |object| merge(object, &body))) {
        Some(object) => answer::object(200, &object),
        None => not_found(asked),
    }
}

fn merge(object: &mut Value, patch: &Value) {
    match patch {
        Value::Object(fields) => {
            if !object.is_object() {
                *object = json!({});
            }
            for (name, value) in fields {
                merge(&mut object[name], value);
            }
        }
        other => *object = other.clone(),
    }
}

fn delete(state: &Arc<State>, asked: &Asked, key: &Key, options: &Value) -> Answer {
    let Some(object) = state.objects().get(key) else { return not_found(asked) };
    if let Some(answer) = unfit(asked, &object, &options["preconditions"]) {
        return answer;
    }
    if state.stuck.lock().unwrap().contains(&key.2) {
        return answer::object(200, &object);
    }
    if asked.resource != "pods" || options["gracePeriodSeconds"] == 0 {
        state.alter(|objects| objects.remove(key));
        if asked.resource == "pods" {
            state.end_agent(&object);
        }
        return answer::object(200, &object);
    }
    answer::object(200, &delete_pod(state, key).unwrap_or(object))
}

/// Deletes a pod as the API server and a kubelet do; the pods of a lost node remain.
pub fn delete_pod(state: &Arc<State>, key: &Key) -> Option<Arc<Value>> {
    let going = state.alter(|objects| {
        objects.change(key, |pod| pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:01Z"))
    })?;
    let (state, key) = (state.clone(), key.clone());
    let node = going["spec"]["nodeName"].as_str().unwrap_or_default().to_owned();
    if !state.lost_nodes.lock().unwrap().contains(&node) {
        tokio::spawn(async move {
            tokio::time::sleep(DELETION_TIME).await;
            let gone = state.alter(|objects| objects.remove(&key));
            gone.iter().for_each(|pod| state.end_agent(pod));
        });
    }
    Some(going)
}

fn log(state: &State, pod: &str) -> Answer {
    match state.pod(pod) {
        Some(pod) if pod["status"]["phase"] == "Pending" => answer::error(
            400,
            "BadRequest",
            "container \"agent\" in pod is waiting to start: PodInitializing",
        ),
        // Those that watch nodes say where they listen.
        Some(_) if pod.starts_with("node") => {
            let listening = json!({"listening": format!("127.0.0.1:{}", forward::PORT), "streams": []});
            answer::text(200, "text/plain", format!("the log of {pod}\n{listening}\n"))
        }
        Some(_) => answer::text(200, "text/plain", format!("the log of {pod}\n")),
        None => answer::error(404, "NotFound", &format!("pods \"{pod}\" not found")),
    }
}
