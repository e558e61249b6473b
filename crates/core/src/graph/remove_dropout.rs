//! The pass that takes dropout out of a graph for predictions.

use super::{Graph, Op};

/// Whoever reads dropout reads its input. Nodes keep their numbers.
pub fn remove_dropout(graph: &mut Graph) {
    for i in 0..graph.nodes.len() {
        let inputs = graph.nodes[i].inputs.iter().map(|&input| match graph[input].op {
            Op::Dropout(_) => graph[input].inputs[0],
            _ => input,
        });
        graph.nodes[i].inputs = inputs.collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_of_dropout_read_its_input() {
        let mut graph = Graph::default();
        let x = graph.input("x", 2, 1);
        let one = graph.dropout("one", x, 0.5);
        let two = graph.dropout("two", one, 0.5);
        let max = graph.global_max_pool("max", two);
        remove_dropout(&mut graph);
        assert_eq!(graph[max].inputs, [x]);
    }
}
