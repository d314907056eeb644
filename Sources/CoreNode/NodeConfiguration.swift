// What a node is told when it starts.

package import Wire

/// A member of the cluster as the command line names it.
package struct Peer: Sendable, Equatable {
  package let name: String
  /// Where it serves its peers, at one place or more: they dial the next when one does not answer.
  package let endpoints: [PeerEndpoint]

  package init(name: String, endpoints: [PeerEndpoint]) {
    precondition(!endpoints.isEmpty, "a member is served somewhere")
    self.name = name
    self.endpoints = endpoints
  }

  package init(name: String, host: String, port: Int, usesTLS: Bool = false) {
    self.init(name: name, endpoints: [PeerEndpoint(host: host, port: port, usesTLS: usesTLS)])
  }

  package var urls: [String] { endpoints.map(\.url) }
  /// For telling people.
  package var url: String { urls.joined(separator: ",") }
}

package struct NodeConfiguration: Sendable {
  package var name: String
  /// The directory that holds the log and this node's key. It belongs to one node for ever.
  package var dataDirectory: String
  /// For the log, if it is not to be in there: on a disk of its own, say. It too belongs to one node for ever.
  package var ownLogDirectory: String?
  /// Where clients are served, at one place or more. Port 0 takes any free port.
  package var clientListeners: [ListenURL]
  /// What clients are told of where this node serves; nil for the places above.
  package var advertisedClientURLs: [String]?
  /// Where metrics and health are served besides.
  package var metricsListeners: [ListenURL] = []
  /// Whether other processes may listen on the same ports.
  package var sharesPorts = false
  /// Every member, this one among them, in any order: the same list on every node that founds the cluster. A node that
  /// joins finds the cluster by it. Not looked at where there is a log already.
  package var peers: [Peer]
  /// Where peers are served, if not at this node's addresses in `peers`.
  package var peerListeners: [ListenURL] = []
  /// Tells clusters with the same addresses apart. Nil, for a cluster of one: a token is drawn at the first start and
  /// kept in the data directory, so that no two such clusters have the same id.
  package var clusterToken: String?
  /// Whether the cluster is founded by its first start or was there before. Looked at only where there is no log yet.
  package var isClusterNew: Bool
  /// Makes a cluster of this node alone from what its log holds: a last resort, see `NewCluster`.
  package var forcesNewCluster: Bool
  /// Whether other nodes may join. One that does not listen for peers is a cluster of one for ever.
  package var listensForPeers: Bool
  /// A snapshot is due when this many entries were applied since the last one, and the log since then has at least this
  /// share of that one's size.
  package var snapshotEntries: Int
  package var snapshotLogPercent: Int
  /// Entries kept behind a snapshot, so that a follower that is a little behind need not take all of it.
  package var trailingEntries: Int
  package var heartbeatMilliseconds: Int
  package var electionMilliseconds: Int
  /// When history is let go of by itself; nil for never.
  package var autoCompaction: AutoCompaction.Policy?
  /// The most connections of clients; nil for what the system lets the process open.
  package var maxConnections: Int?
  /// How large the store may grow.
  package var quota = Quota()
  /// Whether a change of members that could leave too few started ones is refused, as etcd's strict check has it.
  package var checksReconfiguration = true
  /// Whether the API is served as JSON.
  package var servesJSON = true
  package var access = HTTPAccess()
  package var keepalive = KeepalivePolicy()
  /// The most calls that a client may have open on one connection; nil for the room's own bound.
  package var maxConcurrentStreams: Int?
  package var limits: NodeLimits
  package var auth: AuthConfiguration
  /// How clients are served, and how peers talk: in plain text unless this says otherwise.
  package var clientSecurity = PortSecurity.plainText
  package var peerSecurity = PortSecurity.plainText

  package init(name: String, dataDirectory: String, clientHost: String, clientPort: Int, peers: [Peer]) {
    self.name = name
    self.dataDirectory = dataDirectory
    self.clientListeners = [ListenURL(host: clientHost, port: clientPort)]
    self.peers = peers
    self.clusterToken = "portcullis-cluster"
    self.isClusterNew = true
    self.forcesNewCluster = false
    self.listensForPeers = true
    self.snapshotEntries = 100_000
    self.snapshotLogPercent = 25
    self.trailingEntries = 10_000
    self.heartbeatMilliseconds = 100
    self.electionMilliseconds = 1000
    self.limits = NodeLimits()
    self.auth = AuthConfiguration()
  }

  /// What clients are told of where this node serves: URLs with commas.
  var clientURL: String { (advertisedClientURLs ?? clientListeners.map(\.description)).joined(separator: ",") }

  /// Where the log is.
  package var logDirectory: String { ownLogDirectory ?? dataDirectory + "/log" }

  /// How the other members are to know this node.
  var address: MemberAddress {
    MemberAddress(name: name, peerURLs: peers.first { $0.name == name }?.urls ?? [])
  }

  /// Raft's timer runs in steps of this length.
  var tickMilliseconds: Int { max(1, heartbeatMilliseconds / 10) }
  var heartbeatTicks: Int { max(1, heartbeatMilliseconds / tickMilliseconds) }
  var electionTicks: Int { max(heartbeatTicks + 1, electionMilliseconds / tickMilliseconds) }

  /// etcd's rule: no lease is shorter than one and a half elections, or a change of leader could end it.
  var minimumLeaseSeconds: Int64 { Int64((3 * electionMilliseconds / 2 + 999) / 1000) }
  /// The least for those who ask in milliseconds, half an election by default: they want to lose what they hold soon after
  /// they are gone, and accept that a change of leader, in which nobody can renew, may be long enough for it. Below this a
  /// leader's own rhythm (a look for ended leases ten times a second, a flush, a round trip) would be most of the time.
  var minimumLeaseMilliseconds: Int64 { max(limits.minGrantMilliseconds, Int64(electionMilliseconds) / 2) }
  var requestTimeoutMilliseconds: Int { 5000 + 2 * electionMilliseconds }
}

package struct NodeLimits: Sendable {
  /// The most that `maxRequestBytes` may be set to: etcd's own warning begins there, and a peer's frame of 16 MiB holds it.
  package static let mostRequestBytes = 10 << 20

  /// The most bytes of a request that goes into the log: etcd's 1.5 MiB.
  package var maxRequestBytes = 1536 * 1024
  /// The most bytes of an answer: one that would be larger is refused before it is made.
  package var maxAnswerBytes = 512 << 20
  /// How often a watcher that asks for it is told how far an idle stream has come: etcd's ten minutes.
  package var watchProgressMilliseconds: Int64 = 600_000
  package var maxOperationsPerTransaction = 128
  /// How long a watcher's client may take nothing while events wait for it.
  package var slowWatcherMilliseconds: Int64 = 60_000
  /// Watchers of one node, each of which takes memory for as long as its client likes.
  package var maxWatchers = 1_000_000
  /// Committed entries that wait to be applied, beyond which commands are refused: etcd's 5000.
  package var maxUnappliedEntries = 5000
  /// etcd's bound on a lease's time to live: 9,000,000,000 s.
  package var maxLeaseSeconds: Int64 = 9_000_000_000
  /// The shortest time to live of a grant's own lease, and of one that is asked for in milliseconds.
  package var minGrantMilliseconds: Int64 = 500
  /// How many leases may be expired at one look, ten looks a second: etcd's 1000 a second.
  package var maxExpiriesPerLook = 100
  /// Entries applied before the loop looks at its other work again.
  package var maxEntriesPerApply = 4096
  /// What a snapshot that is taken may write in a second. It shares a disk and the processor with every put.
  package var snapshotBytesPerSecond = 16 << 20
  /// What is read in a second for followers that are served from a snapshot, and made in a second for a backup.
  package var transferBytesPerSecond = 64 << 20
  /// A snapshot is due when this much was logged since the last one, however few entries it was: this, or as much as the
  /// last snapshot takes where that is more.
  package var snapshotLogBytes = 256 << 20
  /// Backups and streaming lists that may be under way at once; how long one may take, and how long nothing of it may be
  /// taken: each keeps the state of its beginning.
  package var maxStateHolds = 64
  package var maxStateHoldMilliseconds: Int64 = 3_600_000
  package var stateHoldStallMilliseconds: Int64 = 60_000

  package init() {}
}

/// Why a node could not start or had to stop: one line that says what to do.
package enum NodeError: Error, Sendable, CustomStringConvertible {
  case configuration(String)
  case storage(String)
  case network(String)
  case keyFile(String)
  /// The node is no member any more, and never will be under this identity.
  case removed(String)

  package var description: String {
    switch self {
    case .configuration(let text), .storage(let text), .network(let text), .keyFile(let text), .removed(let text): text
    }
  }
}
