// Owns what the operations of a load are, as a result repeats it.
//
// It must never hold a default: like the rest of a configuration it says what was used.

/// One kind of operation, with all that decides what it costs the target.
package enum OperationSetting: Sendable, Equatable, Codable {
  case put
  /// - Parameter isSerializable: answered from the asked node's own state, without asking the others.
  case get(isSerializable: Bool)
  /// Each operation reads the keys from one on, at most so many.
  case list(limit: Int)
  /// Each operation puts a key if it is as this client saw it last. The rank of a key decides how often it is drawn:
  /// in proportion to 1 / rank^`zipfExponent`, so that 0 draws all alike and 1 is the usual skew.
  case compareAndSwap(zipfExponent: Double)
  /// Each client takes one of so many locks and gives it back; its latency is that of the hand-over.
  /// - Parameter holdNanoseconds: how long it is held in between. Nil in results from before it could be: not at all.
  case lock(names: Int, holdNanoseconds: UInt64?)
  /// Each operation renews one of so many leases.
  case renew(leases: Int, timeToLiveSeconds: Int64)
  /// Each operation puts a key and is over when so many watchers have been told of it.
  case watch(watchers: Int)
  /// Each operation inserts a row through a gateway, under a fencing token or, on an open database, without one.
  /// - Parameter staleShare: the share of the writes that are sent with a token which has been superseded.
  case write(database: String, hasToken: Bool, staleShare: Double)
  case mix([MixPart])

  /// How the scenario is called where one word has to do.
  package var name: String {
    switch self {
    case .put: "put"
    case .get(let isSerializable): isSerializable ? "get-serializable" : "get"
    case .list: "list"
    case .compareAndSwap: "cas"
    case .lock: "lock"
    case .renew: "renew"
    case .watch: "watch"
    case .write: "write"
    case .mix: "mix"
    }
  }
}

/// One of the operations of a mix.
package struct MixPart: Sendable, Equatable, Codable {
  package var operation: OperationSetting
  /// How often it is drawn, against the others.
  package var weight: Double

  package init(operation: OperationSetting, weight: Double) {
    self.operation = operation
    self.weight = weight
  }
}
