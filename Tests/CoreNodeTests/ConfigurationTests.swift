// Identities that follow from a node's configuration.

import CoreNode
import Testing

@Suite("Cluster identities")
struct ClusterMapTests {
  private func configuration(_ name: String, _ peers: [Peer]) -> NodeConfiguration {
    NodeConfiguration(name: name, dataDirectory: "/nonexistent", clientHost: "127.0.0.1", clientPort: 0, peers: peers)
  }

  private let peers = [
    Peer(name: "a", host: "10.0.0.1", port: 2380), Peer(name: "b", host: "10.0.0.2", port: 2380),
    Peer(name: "c", host: "10.0.0.3", port: 2380),
  ]

  @Test("every node of a cluster sees the same ids, in whatever order the members were listed")
  func agreed() throws {
    let a = try ClusterMap(configuration("a", peers), token: "t")
    let b = try ClusterMap(configuration("b", peers.reversed()), token: "t")
    #expect(a.clusterID == b.clusterID && a.members == b.members && a.localID != b.localID)
  }

  @Test("a member with several URLs is the same in whatever order they come, and nobody else has one of them")
  func severalURLs() throws {
    func peers(_ text: String) throws -> [Peer] { try Peer.list(parsing: text) }
    let one = try ClusterMap(configuration("a", peers("a=http://h:1,a=http://h:2,b=http://i:1")), token: "t")
    let other = try ClusterMap(configuration("b", peers("b=http://i:1,a=http://h:2,a=http://h:1")), token: "t")
    #expect(one.clusterID == other.clusterID && Set(one.members.map(\.id)) == Set(other.members.map(\.id)))
    for text in ["a=http://h:1,a=http://h:2,b=http://h:2", "a=http://h:1,a=http://h:1"] {
      #expect(throws: NodeError.self) { try ClusterMap(configuration("a", peers(text)), token: "t") }
    }
  }

  @Test("another token or another member is another cluster")
  func distinct() throws {
    let one = try ClusterMap(configuration("a", peers), token: "t").clusterID
    #expect(try ClusterMap(configuration("a", peers), token: "u").clusterID != one)
    #expect(try ClusterMap(configuration("a", Array(peers.dropLast())), token: "t").clusterID != one)
  }

  @Test("a node that is not in its own list, and a member listed twice, are refused by name")
  func refused() {
    #expect { try ClusterMap(configuration("d", peers), token: "t") } throws: { "\($0)".contains("this node is d") }
    #expect { try ClusterMap(configuration("a", peers + [peers[0]]), token: "t") } throws: { "\($0)".contains("twice") }
  }
}
