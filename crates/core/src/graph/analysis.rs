//! What has to be computed, and who reads it.

use super::{Graph, NodeId, Op};

impl Graph {
    /// Whether each node is needed for `outputs`.
    pub fn needed(&self, outputs: &[NodeId]) -> Vec<bool> {
        let mut needed = vec![false; self.len()];
        outputs.iter().for_each(|output| needed[output.0] = true);
        for (id, node) in self.nodes().rev() {
            if needed[id.0] {
                node.inputs.iter().for_each(|input| needed[input.0] = true);
            }
        }
        needed
    }

    /// The nodes that read each node, of those that `outputs` need.
    pub fn readers(&self, outputs: &[NodeId]) -> Vec<Vec<NodeId>> {
        let needed = self.needed(outputs);
        let mut readers = vec![Vec::new(); self.len()];
        for (id, node) in self.nodes().filter(|(id, _)| needed[id.0]) {
            node.inputs.iter().for_each(|input| readers[input.0].push(id));
        }
        readers
    }

    /// The factor where a node pools its input by windows of 2, 4, 8, ... rows and columns side by side: kernels compute
    /// all of these of a map at once, each from the one before.
    pub fn halvings(&self, id: NodeId) -> Option<u32> {
        match self[id].op {
            Op::MaxPool(window) if window == window.side.into() && window.side.is_power_of_two() => {
                Some(window.side.trailing_zeros()).filter(|&halvings| halvings > 0)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Conv;

    #[test]
    fn what_no_output_needs_is_left_out() {
        let mut graph = Graph::default();
        let x = graph.input("x", 1, 1);
        let a = graph.conv("a", x, Conv::new(1, 1, 3));
        let b = graph.conv("b", a, Conv::new(1, 1, 3));
        let c = graph.conv("c", a, Conv::new(1, 1, 3));
        assert_eq!(graph.needed(&[b]), [true, true, true, false]);
        assert_eq!(graph.readers(&[b]), [vec![a], vec![b], vec![], vec![]]);
        assert_eq!(graph.readers(&[b, c])[a.index()], [b, c]);
    }

    #[test]
    fn overlapping_windows_are_no_halvings() {
        let mut graph = Graph::default();
        let x = graph.input("x", 1, 1);
        let overlapping = unet3p_kernels::Window { side: 3, stride: 2, padding: 1 };
        let pools = [graph.max_pool("p", x, 2), graph.max_pool("p", x, 8), graph.max_pool("p", x, 3)];
        assert_eq!(pools.map(|pool| graph.halvings(pool)), [Some(1), Some(3), None]);
        let pool = graph.max_pool("p", x, overlapping);
        assert_eq!(graph.halvings(pool), None);
    }
}
