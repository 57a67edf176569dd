//! What the document tells the scheduler and the kubelet of every pod.

use k8s_openapi::api::core::v1::{self, LocalObjectReference, PodSpec};
use linerate_experiment::kubernetes::{KubernetesSection, Toleration};

/// A pod's spec with it.
pub(super) fn told(settings: &KubernetesSection, spec: PodSpec) -> PodSpec {
    let secrets = settings.image_pull_secrets.iter();
    let secrets = secrets.map(|secret| LocalObjectReference { name: secret.name.as_str().to_owned() });
    PodSpec {
        tolerations: some(settings.tolerations.iter().map(toleration).collect()),
        image_pull_secrets: some(secrets.collect()),
        scheduler_name: settings.scheduler_name.clone(),
        ..spec
    }
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|list| !list.is_empty())
}

fn toleration(toleration: &Toleration) -> v1::Toleration {
    let Toleration { key, operator, value, effect, toleration_seconds } = toleration.clone();
    v1::Toleration {
        key,
        operator: Some(operator.name().to_owned()),
        value,
        effect: effect.map(|effect| effect.name().to_owned()),
        toleration_seconds,
    }
}

#[cfg(test)]
mod tests {
    use linerate_experiment::{Experiment, Overrides};
    use serde_json::json;

    use crate::pods::{PodPlan, Run};

    #[test]
    fn every_pod_tells_the_scheduler_and_the_kubelet_what_the_document_says() {
        let settings = "tolerations: [{key: pool, value: net, effect: NoExecute, tolerationSeconds: 60}, {operator: Exists}], \
                        imagePullSecrets: [{name: registry}], schedulerName: other, nodeView: true";
        for traffic in ["traffic: {}", "streams: {}", "http: {}"] {
            let told = |settings: &str| {
                let text = format!(
                    "apiVersion: linerate.dev/v1alpha1\nkind: Experiment\nspec: {{platform: kubernetes, {traffic}, kubernetes: {{{settings}}}}}\n"
                );
                let experiment = Experiment::parse(&text, "e.yaml", &Overrides::default()).unwrap();
                let run = Run { experiment: &experiment, id: "0a1b2c3d", owner: None };
                let agents = experiment.topology().groups.remove(0).agents;
                let pods = agents
                    .into_iter()
                    .map(|agent| run.pod(&PodPlan { group: 0, agent, node: None, in_host_network: false }));
                pods.chain([run.watcher("node0", "n1")])
                    .map(|pod| {
                        let spec = pod.spec.unwrap();
                        json!([spec.tolerations, spec.image_pull_secrets, spec.scheduler_name])
                    })
                    .collect::<Vec<_>>()
            };
            let expected = json!([
                [
                    {"key": "pool", "operator": "Equal", "value": "net", "effect": "NoExecute", "tolerationSeconds": 60},
                    {"operator": "Exists"}
                ],
                [{"name": "registry"}],
                "other"
            ]);
            let all = told(settings);
            assert!(all.len() >= 2 && all.iter().all(|one| *one == expected), "{traffic}: {all:?}");
            assert!(told("").iter().all(|one| *one == json!([null, null, null])), "{traffic}");
        }
    }
}
