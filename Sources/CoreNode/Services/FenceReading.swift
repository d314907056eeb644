// Guarded requests: metadata `fence: <token>` makes any request of the KV service succeed only while the grant is current
// (Chubby's CheckSequencer, as a matter of course). A write is judged when it is applied, a read by the snapshot that
// answers it.
//
// Must never: take claims from a token whose signature was not checked with a key of this cluster.

import CoordinationCore
import FencingCore
import NIOConcurrencyHelpers
import Tokens
import Wire

/// Tokens whose signature was checked. Thread-safe.
final class FenceReading: Sendable {
  private let cache = NIOLockedValueBox(VerifiedTokenCache(capacity: 1024))
  private let keys = NIOLockedValueBox<(records: [NodeRecord], set: KeySet)?>(nil)

  static var header: String { "fence" }

  /// The grant that a call leans on; nil where it leans on none.
  func fence(of call: ServerCall, core: CoreAccess) throws(RPCStatus) -> GrantFence? {
    guard call.hasOwnMetadata, let token = call.metadata(Self.header) else { return nil }
    let claims: FenceClaims
    do throws(TokenError) {
      claims = try verified(token, core.publication.snapshot.state.nodes, core.identity.incarnation)
    } catch {
      throw RPCStatus(.invalidArgument, "the token in `fence` is not taken: \(error). Send the token of the grant.")
    }
    guard claims.cluster == core.identity.clusterID else {
      throw RPCStatus(
        .failedPrecondition,
        "the token in `fence` is of cluster \(ClusterText.format(claims.cluster)), this is cluster"
          + " \(ClusterText.format(core.identity.clusterID))")
    }
    guard claims.incarnation.rawValue == Int64(core.identity.incarnation) else {
      throw RPCStatus(
        .failedPrecondition,
        "the token in `fence` is of incarnation \(claims.incarnation), the cluster is in incarnation"
          + " \(core.identity.incarnation): acquire again")
    }
    return GrantFence(scope: Key(Bytes(claims.scope.utf8)), number: claims.number.rawValue)
  }

  private func verified(
    _ token: String, _ records: [NodeRecord], _ incarnation: UInt64
  ) throws(TokenError) -> FenceClaims {
    let keys = keySet(of: records, incarnation)
    let now = MachineClock.wallSeconds
    let known = cache.withLockedValue { cache in
      Result { () throws(TokenError) in try cache.claims(of: token, keys: keys, nowSeconds: now) }
    }
    if let claims = try known.get() { return claims }
    let verified = try keys.verifiedToken(token, nowSeconds: now)
    cache.withLockedValue { $0.insert(verified, for: token) }
    return verified.claims
  }

  /// Made anew only when a node has come or gone.
  private func keySet(of records: [NodeRecord], _ incarnation: UInt64) -> KeySet {
    keys.withLockedValue { keys in
      if let keys, keys.records == records { return keys.set }
      let set = KeySet(records, incarnation: incarnation)
      keys = (records, set)
      return set
    }
  }
}

extension RPCStatus {
  /// What a guarded request is told when its grant is over.
  init(stale fence: GrantFence, _ refusal: GrantRefusal) {
    let scope = String(decoding: fence.scope.bytes, as: UTF8.self)
    var text = "the grant of \(scope) under number \(fence.number) is not current"
    var trailers = [Self.notApplied]
    if case .notHolder(let current, let last) = refusal {
      if let current {
        text += ": held by \(current.holder) under number \(current.number)"
        trailers.append(Trailer(name: "portcullis-holder", value: current.holder))
      } else {
        text += ": nobody holds it, and its newest number is \(last)"
      }
      trailers.append(Trailer(name: "portcullis-number", value: String(current?.number ?? last)))
    }
    self.init(code: .failedPrecondition, message: text + ". Nothing was done; acquire again.", trailers: trailers)
  }
}
