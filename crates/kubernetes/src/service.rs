//! The Service before the backends of a trial of HTTP: made when a trial needs it, kept for the trials with the same target and number of
//! backends, and removed with the run.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodStatus, Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client, ResourceExt};
use linerate_experiment::http::{HttpProfile, HttpTarget};
use linerate_runner::platform::PlatformError;
use linerate_runner::platform::balancer::{Balanced, Balancers, resolve};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::error::{ClusterError, is_forbidden, is_not_found};
use super::pods::{HTTP_PORT, Run};
use super::retry::steadily;
use super::{KubernetesPlatform, create, names, remove};

/// Versions of `discovery.k8s.io`: from Kubernetes 1.21 on, and before.
const SLICE_VERSIONS: [&str; 2] = ["v1", "v1beta1"];
/// First pause between two looks at the endpoints; it grows.
const LOOK: Duration = Duration::from_millis(50);
const LATER_LOOK: Duration = Duration::from_secs(1);
/// Longest wait for the endpoints of a Service that did not get them in a trial before.
const AGAIN: Duration = Duration::from_secs(10);

/// What a Service is made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServicePlan {
    target: HttpTarget,
    backends: u32,
}

impl Run<'_> {
    /// The Service of a target before the first so many backends. Its IP version is that of `first`, the address of the first of them;
    /// `None`: that of the cluster.
    pub fn service(&self, target: &HttpTarget, backends: u32, first: Option<IpAddr>) -> Service {
        let mut selector = names::labels(self.id);
        selector.insert(names::among_first(backends), "true".to_owned());
        let kind = if *target == HttpTarget::NodePort { "NodePort" } else { "ClusterIP" };
        Service {
            metadata: self.metadata(names::SERVICE.to_owned()),
            spec: Some(ServiceSpec {
                type_: Some(kind.to_owned()),
                selector: Some(selector),
                ports: Some(vec![ServicePort {
                    name: Some("http".to_owned()),
                    port: HTTP_PORT.into(),
                    target_port: Some(IntOrString::Int(HTTP_PORT.into())),
                    protocol: Some("TCP".to_owned()),
                    ..ServicePort::default()
                }]),
                ip_families: first.map(|first| vec![family(first).to_owned()]),
                ip_family_policy: Some("SingleStack".to_owned()),
                ..ServiceSpec::default()
            }),
            ..Service::default()
        }
    }
}

/// Name of an address's IP version in Kubernetes.
fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

fn services(client: &Client, namespace: &str) -> Api<Service> {
    Api::namespaced(client.clone(), namespace)
}

/// Checks that no Service of others has the name.
///
/// # Errors
/// When one has, or the server does not answer.
pub(super) async fn name_is_free(
    client: &Client,
    namespace: &str,
    gone: &BTreeSet<String>,
) -> Result<(), ClusterError> {
    let services = services(client, namespace);
    let found = steadily(|| services.get_metadata_opt(names::SERVICE)).await;
    let found = found.map_err(ClusterError::while_(format!("look at service {}", names::SERVICE)))?;
    match found {
        Some(service) if !gone.iter().any(|id| names::is_of(&service, id)) => {
            Err(ClusterError::Conflict(format!(
                "service {} in namespace {namespace} is another's, and this run needs the name\n  remedy: use a namespace of its own \
                 (--namespace); nothing was touched",
                names::SERVICE
            )))
        }
        _ => Ok(()),
    }
}

/// Removes the Service of the run `id`, if there is one.
///
/// # Errors
/// When the server refuses.
pub(super) async fn remove(client: &Client, namespace: &str, id: &str) -> Result<(), ClusterError> {
    let services = services(client, namespace);
    match steadily(|| services.get_metadata_opt(names::SERVICE)).await {
        Ok(Some(service)) if names::is_of(&service, id) => {
            remove::delete(&services, &service, DeleteParams::default()).await
        }
        Ok(_) => Ok(()),
        // A Role without rights on services means that none was created.
        Err(error) if is_forbidden(&error) => Ok(()),
        Err(error) => Err(ClusterError::while_(format!("look at service {}", names::SERVICE))(error)),
    }
}

/// Address of a pod's node: of the IP version of the Service, if it has one of it; else the first.
fn host_address(status: PodStatus, service: Option<IpAddr>) -> Option<IpAddr> {
    let others = status.host_ips.into_iter().flatten().filter_map(|one| one.ip.parse().ok());
    let all = status.host_ip.and_then(|first| first.parse().ok()).into_iter().chain(others);
    let is_alike = |one: &IpAddr| service.is_some_and(|service| service.is_ipv4() == one.is_ipv4());
    all.clone().find(is_alike).or_else(|| all.clone().next())
}

/// Addresses of the endpoints that are ready, in slices as the API server shows them. A condition that is not known counts as ready.
fn ready(slices: &[Value]) -> BTreeSet<IpAddr> {
    let endpoints = slices.iter().flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten());
    let is_ready = |endpoint: &&Value| endpoint["conditions"]["ready"].as_bool().unwrap_or(true);
    let addresses =
        endpoints.filter(is_ready).flat_map(|one| one["addresses"].as_array().into_iter().flatten());
    addresses.filter_map(|address| address.as_str()?.parse().ok()).collect()
}

impl KubernetesPlatform {
    /// Ready endpoints of the Service with this uid: slices of the one before, which had the same name, may be there for a while.
    async fn ready_endpoints(&self, uid: &str) -> Result<BTreeSet<IpAddr>, ClusterError> {
        let params = ListParams::default().labels(&format!("kubernetes.io/service-name={}", names::SERVICE));
        let mut versions = SLICE_VERSIONS.into_iter().peekable();
        while let Some(version) = versions.next() {
            let kind = GroupVersionKind::gvk("discovery.k8s.io", version, "EndpointSlice");
            let kind = ApiResource::from_gvk_with_plural(&kind, "endpointslices");
            let api =
                Api::<DynamicObject>::namespaced_with(self.client().clone(), &self.plan.namespace, &kind);
            match steadily(|| api.list(&params)).await {
                Ok(found) => {
                    let ours =
                        |slice: &DynamicObject| slice.owner_references().iter().any(|owner| owner.uid == uid);
                    let slices = found.items.into_iter().filter(ours).map(|slice| slice.data);
                    return Ok(ready(&slices.collect::<Vec<_>>()));
                }
                Err(error) if is_not_found(&error) && versions.peek().is_some() => {}
                Err(error) => return Err(ClusterError::while_("list the endpoint slices")(error)),
            }
        }
        Ok(BTreeSet::new())
    }

    /// Waits until the Service has these backends for its endpoints, and no others, for `limit` at most.
    async fn await_endpoints(
        &self,
        service: &Service,
        backends: &[SocketAddr],
        limit: Duration,
    ) -> Result<(), ClusterError> {
        let uid = service.uid().unwrap_or_default();
        let wanted: BTreeSet<IpAddr> = backends.iter().map(SocketAddr::ip).collect();
        let begun = Instant::now();
        let mut pause = LOOK;
        loop {
            let there = self.ready_endpoints(&uid).await?;
            if there == wanted {
                return Ok(());
            }
            if begun.elapsed() >= limit {
                let list = |addresses: Vec<&IpAddr>| {
                    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
                };
                return Err(ClusterError::NotReady(format!(
                    "service {} does not have its backends for endpoints after {} s (spec.kubernetes.readyTimeout): not ready [{}], not of \
                     the trial [{}]\n  remedy: look at its endpoint slices and at the pods",
                    names::SERVICE,
                    limit.as_secs(),
                    list(wanted.difference(&there).collect()),
                    list(there.difference(&wanted).collect())
                )));
            }
            sleep(pause).await;
            pause = (pause * 3 / 2).min(LATER_LOOK);
        }
    }

    /// Address of the Service for clients.
    async fn address(&self, service: Service, target: &HttpTarget) -> Result<SocketAddr, ClusterError> {
        let spec = service.spec.unwrap_or_default();
        let none = |what: &str| ClusterError::NotReady(format!("service {} has no {what}", names::SERVICE));
        let address = spec.cluster_ip.and_then(|address| address.parse().ok());
        if *target == HttpTarget::NodePort {
            let port = spec.ports.iter().flatten().find_map(|port| port.node_port);
            let port = port.and_then(|port| u16::try_from(port).ok()).ok_or_else(|| none("node port"))?;
            return Ok(SocketAddr::new(self.node_of_first_backend(address).await?, port));
        }
        Ok(SocketAddr::new(address.ok_or_else(|| none("address of the cluster"))?, HTTP_PORT))
    }

    /// Address of the node that runs the first backend, of the IP version of the Service.
    async fn node_of_first_backend(&self, service: Option<IpAddr>) -> Result<IpAddr, ClusterError> {
        let place = self.experiment.http_clients() as usize;
        let pod = self.plan.pods.get(place).map(|plan| plan.name()).unwrap_or_default();
        let pods: Api<Pod> = self.pods();
        let found =
            steadily(|| pods.get(&pod)).await.map_err(ClusterError::while_(format!("read pod {pod}")))?;
        let address = found.status.and_then(|status| host_address(status, service));
        address.ok_or_else(|| ClusterError::NotReady(format!("the node of pod {pod} has no address")))
    }

    /// Makes the Service, unless it is there, and waits until the backends are ready in it.
    async fn serve(
        &mut self,
        target: &HttpTarget,
        backends: &[SocketAddr],
    ) -> Result<Balanced, ClusterError> {
        if let Some(reason) = self.lease_loss.get() {
            return Err(ClusterError::NotReady(format!(
                "run {} makes no Service any more: {reason}",
                self.id
            )));
        }
        let wanted = ServicePlan { target: target.clone(), backends: backends.len() as u32 };
        let services = services(self.client(), &self.plan.namespace);
        if self.service.as_ref() != Some(&wanted) {
            // Another address is no part of the rules of the one before, which may be in force on nodes for a while.
            self.remove_service().await?;
            self.service = Some(wanted.clone());
            self.unready = None;
            let run = Run { experiment: &self.experiment, id: &self.id, owner: self.owner.as_ref() };
            let first = backends.first().map(SocketAddr::ip);
            create(&services, &run.service(target, wanted.backends, first), &self.id).await?;
        }
        let service = steadily(|| services.get(names::SERVICE)).await;
        let service = service.map_err(ClusterError::while_(format!("read service {}", names::SERVICE)))?;
        let limit = self.experiment.kubernetes().ready_timeout.get();
        // One that did not get ready is not waited for so long in each further trial.
        let limit = if self.unready.as_ref() == Some(&wanted) { limit.min(AGAIN) } else { limit };
        let ready = self.await_endpoints(&service, backends, limit).await;
        self.unready = ready.is_err().then_some(wanted);
        ready?;
        let address = self.address(service, target).await?;
        let kind = if *target == HttpTarget::NodePort { "NodePort" } else { "ClusterIP" };
        Ok(Balanced::at(address, Some(format!("Service of type {kind}"))))
    }

    async fn remove_service(&mut self) -> Result<(), ClusterError> {
        if self.service.is_some() {
            remove(self.client(), &self.plan.namespace, &self.id).await?;
            self.service = None;
        }
        Ok(())
    }
}

impl Balancers for KubernetesPlatform {
    async fn set_up(
        &mut self,
        profile: &HttpProfile,
        backends: &[SocketAddr],
    ) -> Result<Balanced, PlatformError> {
        match &profile.target {
            target @ (HttpTarget::ClusterIp | HttpTarget::NodePort) => {
                Ok(self.serve(target, backends).await?)
            }
            other => {
                self.remove_service().await?;
                match other {
                    HttpTarget::Url(url) => resolve(url).await,
                    _ => Ok(Balanced::direct(backends)),
                }
            }
        }
    }

    fn cpu_s(&self) -> Option<f64> {
        None
    }
}

#[cfg(test)]
mod tests {
    use linerate_experiment::{Experiment, Overrides};
    use serde_json::json;

    use super::*;

    #[test]
    fn endpoints_are_ready_unless_they_say_otherwise() {
        let slice = json!({"endpoints": [
            {"addresses": ["10.0.0.1"], "conditions": {"ready": true}},
            {"addresses": ["10.0.0.2"], "conditions": {"ready": false}},
            {"addresses": ["10.0.0.3"], "conditions": {}},
            {"addresses": ["10.0.0.4", "no address"]},
        ]});
        let addresses: Vec<String> =
            ready(&[slice, json!({"endpoints": null})]).iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["10.0.0.1", "10.0.0.3", "10.0.0.4"]);
    }

    #[test]
    fn a_service_selects_the_first_backends_of_its_run() {
        let text = "apiVersion: linerate.dev/v1alpha1\nkind: Experiment\nspec: {platform: kubernetes, http: {targets: [node-port]}}\n";
        let experiment = Experiment::parse(text, "e.yaml", &Overrides::default()).unwrap();
        let run = Run { experiment: &experiment, id: "0a1b2c3d", owner: None };
        let service = run.service(&HttpTarget::NodePort, 3, None);
        assert!(names::is_of(&service, "0a1b2c3d"));
        let spec = service.spec.unwrap();
        let selector = spec.selector.unwrap();
        assert_eq!((selector["linerate.dev/first-3"].as_str(), selector.len()), ("true", 3));
        assert_eq!(spec.ip_families, None, "the cluster's");
        assert_eq!((spec.type_.as_deref(), spec.ports.unwrap()[0].port), (Some("NodePort"), 8080));
        for (first, family) in [("10.0.0.1", "IPv4"), ("fd00::1", "IPv6")] {
            let service = run.service(&HttpTarget::ClusterIp, 3, Some(first.parse().unwrap()));
            assert_eq!(
                service.spec.unwrap().ip_families,
                Some(vec![family.to_owned()]),
                "that of its endpoints"
            );
        }
    }

    #[test]
    fn a_node_port_is_asked_for_at_an_address_of_the_services_ip_version() {
        let both = json!({"hostIP": "192.0.2.1", "hostIPs": [{"ip": "192.0.2.1"}, {"ip": "2001:db8::1"}]});
        for (status, service, expected) in [
            (&both, "10.96.0.1", Some("192.0.2.1")),
            (&both, "fd00:96::1", Some("2001:db8::1")),
            // Of clusters before 1.28.
            (&json!({"hostIP": "192.0.2.1"}), "fd00:96::1", Some("192.0.2.1")),
            (&json!({}), "10.96.0.1", None),
        ] {
            let status = serde_json::from_value(status.clone()).unwrap();
            let found = host_address(status, Some(service.parse().unwrap()));
            assert_eq!(found.map(|address| address.to_string()).as_deref(), expected, "{service}");
        }
    }
}
