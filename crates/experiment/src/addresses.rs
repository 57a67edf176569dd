//! Addresses of ports without a kernel interface.

use std::net::IpAddr;

use ipnet::IpNet;
use linerate_wire::trial::Role;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The addresses of a pair's ports.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AddressPair {
    /// Of the transmitter.
    pub tx: PortAddresses,
    /// Of the receiver.
    pub rx: PortAddresses,
}

/// The addresses of a port, and its routers. The port answers ARP, neighbour discovery and ping for its addresses.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PortAddresses {
    /// Addresses with the length of their network's prefix, such as `10.0.1.2/24`.
    #[serde(with = "linerate_wire::network::networks")]
    #[schemars(with = "Vec<String>")]
    pub addresses: Vec<IpNet>,
    /// Routers for addresses outside these networks: one for each version of IP.
    pub gateways: Vec<IpAddr>,
}

impl AddressPair {
    /// The addresses of one end.
    pub fn of(&self, end: Role) -> &PortAddresses {
        match end {
            Role::Tx => &self.tx,
            Role::Rx => &self.rx,
        }
    }

    /// Checks the addresses.
    ///
    /// # Errors
    /// When a router is not on the link, or there are two for one IP version: the field, the value and the
    /// remedy.
    pub(super) fn check(&self) -> Result<(), String> {
        for end in [Role::Tx, Role::Rx] {
            let PortAddresses { addresses, gateways } = self.of(end);
            for gateway in gateways {
                if !addresses.iter().any(|network| network.contains(gateway)) {
                    return Err(format!(
                        "{end}.gateways: {gateway} is in none of the networks of {end}.addresses; a router must be on the link"
                    ));
                }
                if gateways.iter().filter(|other| other.is_ipv4() == gateway.is_ipv4()).count() > 1 {
                    return Err(format!(
                        "{end}.gateways: more than one router for one version of IP; give one"
                    ));
                }
            }
        }
        Ok(())
    }
}

impl PortAddresses {
    /// The agent's options for these addresses, after `agent`.
    pub fn agent_options(&self) -> Vec<String> {
        let addresses = self.addresses.iter().map(|address| ["--address".to_owned(), address.to_string()]);
        let gateways = self.gateways.iter().map(|gateway| ["--gateway".to_owned(), gateway.to_string()]);
        addresses.chain(gateways).flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::{Experiment, Overrides};

    fn experiment(spec: &str) -> Result<Experiment, String> {
        let text = format!("apiVersion: linerate.dev/v1alpha1\nkind: Experiment\nspec:\n{spec}");
        Experiment::parse(&text, "e.yaml", &Overrides::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn addresses_become_options_of_their_agents() {
        let experiment = experiment(
            "  addresses: [{tx: {addresses: [10.0.1.2/24], gateways: [10.0.1.1]}, rx: {addresses: [10.0.2.2/24, 'fd00::2/64']}}]\n",
        )
        .unwrap();
        let options = |end| experiment.address_options(0, end).join(" ");
        assert_eq!(options(super::Role::Tx), "--address 10.0.1.2/24 --gateway 10.0.1.1");
        assert_eq!(options(super::Role::Rx), "--address 10.0.2.2/24 --address fd00::2/64");
        assert!(experiment.address_options(1, super::Role::Tx).is_empty());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (spec, part) in [
            ("  pairs: 2\n  addresses: [{}]\n", "spec.addresses: 1 entries for 2 pairs"),
            (
                "  addresses: [{tx: {addresses: [10.0.1.2/24], gateways: [10.0.2.1]}}]\n",
                "spec.addresses[0].tx.gateways: 10.0.2.1 is in none",
            ),
            (
                "  addresses: [{rx: {addresses: [10.0.1.2/24], gateways: [10.0.1.1, 10.0.1.3]}}]\n",
                "spec.addresses[0].rx.gateways: more than one",
            ),
            ("  addresses: [{tx: {addresses: [10.0.1.2]}}]\n", "10.0.1.2"),
        ] {
            let message = experiment(spec).unwrap_err();
            assert!(message.contains(part), "{spec}: {message}");
        }
    }
}
