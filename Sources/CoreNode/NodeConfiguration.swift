// What a node is told when it starts, and the identities that follow from it.

import Crypto
package import RaftCore

/// A member of the cluster as the command line names it.
package struct Peer: Sendable, Equatable {
  package let name: String
  package let host: String
  package let port: Int

  package init(name: String, host: String, port: Int) {
    self.name = name
    self.host = host
    self.port = port
  }

  package var url: String { "http://\(host):\(port)" }
}

package struct NodeConfiguration: Sendable {
  package var name: String
  /// The directory that holds the log and this node's key. It belongs to one node for ever.
  package var dataDirectory: String
  package var clientHost: String
  /// 0 takes any free port.
  package var clientPort: Int
  package var advertisedClientURL: String?
  /// Every member, this one among them, in any order: the same list on every node.
  package var peers: [Peer]
  /// Where peers are served, if not at this node's address in `peers`.
  package var peerListenHost: String?
  package var peerListenPort: Int?
  /// Tells clusters with the same addresses apart. Nil, for a cluster of one: a token is drawn at the first start and
  /// kept in the data directory, so that no two such clusters have the same id.
  package var clusterToken: String?
  package var heartbeatMilliseconds: Int
  package var electionMilliseconds: Int
  package var limits: NodeLimits

  package init(name: String, dataDirectory: String, clientHost: String, clientPort: Int, peers: [Peer]) {
    self.name = name
    self.dataDirectory = dataDirectory
    self.clientHost = clientHost
    self.clientPort = clientPort
    self.peers = peers
    self.clusterToken = "portcullis-cluster"
    self.heartbeatMilliseconds = 100
    self.electionMilliseconds = 1000
    self.limits = NodeLimits()
  }

  /// What clients are told of where this node serves.
  var clientURL: String { advertisedClientURL ?? "http://\(clientHost):\(clientPort)" }

  /// Raft's timer runs in steps of this length.
  var tickMilliseconds: Int { max(1, heartbeatMilliseconds / 10) }
  var heartbeatTicks: Int { max(1, heartbeatMilliseconds / tickMilliseconds) }
  var electionTicks: Int { max(heartbeatTicks + 1, electionMilliseconds / tickMilliseconds) }

  /// etcd's rule: no lease is shorter than one and a half elections, or a change of leader could end it.
  var minimumLeaseSeconds: Int64 { Int64((3 * electionMilliseconds / 2 + 999) / 1000) }
  var requestTimeoutMilliseconds: Int { 5000 + 2 * electionMilliseconds }
}

package struct NodeLimits: Sendable {
  package var maxOperationsPerTransaction = 128
  /// etcd's bound on a lease's time to live: 9,000,000,000 s.
  package var maxLeaseSeconds: Int64 = 9_000_000_000
  /// The shortest time to live of a grant's own lease.
  package var minGrantMilliseconds: Int64 = 500
  /// How many leases may be expired at one look, ten looks a second: etcd's 1000 a second.
  package var maxExpiriesPerLook = 100
  /// Entries applied before the loop looks at its other work again.
  package var maxEntriesPerApply = 4096

  package init() {}
}

/// Who is who in the cluster. Cluster and member ids are digests of what the members were started with, so nodes that
/// were given different lists find out in their first handshake.
package struct ClusterMap: Sendable {
  package struct Member: Sendable, Equatable {
    package let id: NodeID
    package let peer: Peer
  }

  package let clusterID: UInt64
  package let members: [Member]
  package let localID: NodeID

  package init(_ configuration: NodeConfiguration, token: String) throws(NodeError) {
    var members: [Member] = []
    for peer in configuration.peers {
      let id = NodeID(Self.digest([peer.url, token]))
      if members.contains(where: { $0.id == id || $0.peer.name == peer.name }) {
        throw .configuration("member \(peer.name) (\(peer.url)) is listed twice in the initial cluster")
      }
      members.append(Member(id: id, peer: peer))
    }
    guard let local = members.first(where: { $0.peer.name == configuration.name }) else {
      let names = configuration.peers.map(\.name).joined(separator: ", ")
      throw .configuration("this node is \(configuration.name), but the initial cluster names only: \(names)")
    }
    self.members = members.sorted { $0.id < $1.id }
    self.localID = local.id
    self.clusterID = Self.digest(self.members.map { String($0.id.rawValue) } + [token])
  }

  package subscript(id: NodeID) -> Member? { members.first { $0.id == id } }
  package var voters: [NodeID] { members.map(\.id) }
  package var others: [Member] { members.filter { $0.id != localID } }

  /// Never 0, which stands for "none".
  private static func digest(_ parts: [String]) -> UInt64 {
    var hash = SHA256()
    for part in parts {
      hash.update(data: Array(part.utf8))
      hash.update(data: [0])
    }
    let first = hash.finalize().prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    return max(first, 1)
  }
}

/// Why a node could not start or had to stop: one line that says what to do.
package enum NodeError: Error, Sendable, CustomStringConvertible {
  case configuration(String)
  case storage(String)
  case network(String)
  case keyFile(String)

  package var description: String {
    switch self {
    case .configuration(let text), .storage(let text), .network(let text), .keyFile(let text): text
    }
  }
}
