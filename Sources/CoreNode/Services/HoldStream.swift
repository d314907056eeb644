// One Hold stream: its caller holds a grant, a lock or a leadership, renews it with every message and is told the moment that
// it has ended. etcd's clients are not told at all (etcd#6127): they find out by looking, or when somebody else has written.
//
// A server cannot tell a caller that it does not reach. So every answer says how long the caller may rely on it, counted from
// the sending of its question; what the caller does when that is over is the caller's affair, and the fence's.
//
// Invariant: `held` is sent only from a snapshot in which it holds, which is no older than the renewal that it answers; and
// nothing is sent after `lost`.

import CoordinationCore
import Foundation
import NIOCore
import Protocol
import Wire

/// `@unchecked Sendable`: everything but `mark`, which only hands over to the event loop, is called on the connection's
/// event loop.
final class HoldStream: @unchecked Sendable, StreamHandler, WatchObserver {
  private enum Subject {
    case scope(Key)
    case key(Key)

    /// By which it is known who may look at it: a scope stands under the key of its name.
    var key: Key {
      switch self {
      case .scope(let key), .key(let key): key
      }
    }
  }

  private let call: StreamCall
  private let core: CoreAccess
  private var subject: Subject?
  private var number: Revision = 0
  /// Whose share of a scope is held; 0 where it is held alone.
  private var sharer: LeaseID = 0
  /// 0 until it is known which one carries what is held.
  private var lease: LeaseID = 0
  /// Questions that came before that was known.
  private var early: [UInt64] = []
  private var stopObserving: () -> Void = {}
  private var isClosed = false

  init(_ call: StreamCall, core: CoreAccess) {
    self.call = call
    self.core = core
  }

  // MARK: From the hubs

  func mark(_ marks: [(watch: Int64, revision: Revision)]) { lookSoon() }

  private func lookSoon() {
    call.eventLoop.execute { [self] in
      guard !isClosed, lease != 0 else { return }
      let snapshot = core.publication.snapshot
      if !isHeld(in: snapshot) { lose(snapshot) }
    }
  }

  // MARK: From the caller

  func received(_ message: ByteBuffer) {
    guard let request = call.decode(Portcullis_V1_HoldRequest.self, from: message) else { return closed() }
    if subject == nil {
      guard begin(request) else { return }
    }
    if lease == 0 { early.append(request.sequence) } else { renew(request.sequence) }
  }

  /// False if the stream has ended because the message names nothing that can be held.
  private func begin(_ request: Portcullis_V1_HoldRequest) -> Bool {
    guard request.scope.isEmpty != request.key.isEmpty, request.number > 0 else {
      fail(
        RPCStatus(
          code: .invalidArgument,
          message: "hold needs the scope of a grant or the key of a lock, not both, and its number"))
      return false
    }
    number = request.number
    sharer = request.holderLease
    // First a place to be told at, then a look: an end in between is not missed.
    if request.key.isEmpty {
      let scope = Key(Bytes(request.scope.utf8))
      subject = .scope(scope)
      let id = core.holds.observe(scope) { [weak self] in self?.lookSoon() }
      stopObserving = { [core] in core.holds.endObserving(scope, id) }
    } else {
      let key = Key(Bytes(request.key))
      subject = .key(key)
      let id = core.watches.add(0, of: self, range: KeyRange(start: key, end: .single)).id
      stopObserving = { [core] in core.watches.remove(id) }
    }
    // This node may not have applied the grant yet.
    core.readLinearizably(on: call.eventLoop) { [self] result in
      guard !isClosed else { return }
      switch result {
      case .failure(let failure): fail(RPCStatus(failure))
      case .success(let snapshot): found(in: snapshot)
      }
    }
    return true
  }

  private func found(in snapshot: Snapshot) {
    if let key = subject?.key {
      do throws(RequestError) {
        try core.checkRead(KeyRange(start: key, end: .single), by: call, in: snapshot)
      } catch {
        return fail(RPCStatus(error))
      }
    }
    guard isHeld(in: snapshot), isFirst(in: snapshot) else { return lose(snapshot) }
    lease =
      switch subject {
      case .scope(let scope): grant(of: scope, in: snapshot)?.lease ?? 0
      case .key(let key): snapshot.state.store.current(key)?.lease ?? 0
      case nil: 0
      }
    guard lease != 0 else {
      return fail(
        RPCStatus(code: .failedPrecondition, message: "the key has no lease, so nothing here would ever end it"))
    }
    for sequence in early { renew(sequence) }
    early = []
  }

  private func grant(of scope: Key, in snapshot: Snapshot) -> GrantRecord? {
    let state = snapshot.state.scopes[scope]
    return sharer == 0 ? state?.holder : state?.grant(of: sharer)
  }

  private func isHeld(in snapshot: Snapshot) -> Bool {
    switch subject {
    case .scope(let scope): grant(of: scope, in: snapshot)?.number == number
    case .key(let key): snapshot.state.store.current(key)?.createRevision == number
    case nil: false
    }
  }

  /// A key that stands in a line behind others is there and holds nothing. Once first, it stays so.
  private func isFirst(in snapshot: Snapshot) -> Bool {
    guard case .key(let key) = subject, let slash = key.bytes.lastIndex(of: UInt8(ascii: "/")) else { return true }
    return !Line(name: key.bytes[..<slash]).hasAny(before: number, in: snapshot)
  }

  private func renew(_ sequence: UInt64) {
    let caller: Caller?
    do throws(RPCStatus) { caller = try core.caller(of: call) } catch { return fail(error) }
    renew(sequence, by: caller)
  }

  private func renew(_ sequence: UInt64, by caller: Caller?) {
    core.submit(.leaseRenew(lease), by: caller, on: call.eventLoop) { [self] answer in
      guard !isClosed else { return }
      if let caller, let again = core.caller(of: call, after: answer, by: caller) { return renew(sequence, by: again) }
      switch answer {
      case .applied(.failed(.auth(let reason)), _, _): fail(RPCStatus(reason))
      case .applied(.leaseRenewed(_, let ttlMilliseconds), let snapshot, _) where isHeld(in: snapshot):
        var response = Portcullis_V1_HoldResponse()
        response.evidence = core.evidence(snapshot)
        response.held.sequence = sequence
        response.held.timeLeftMs = ttlMilliseconds
        _ = call.send(response)
      case .applied(_, let snapshot, _): lose(snapshot)
      case .refused, .tooLarge, .timedOut, .stopping, .done:
        do throws(RPCStatus) { _ = try answer.outcome() } catch { fail(error) }
      }
    }
  }

  // MARK: The end

  private func lose(_ snapshot: Snapshot) {
    var response = Portcullis_V1_HoldResponse()
    response.evidence = core.evidence(snapshot)
    let advice = "stop writing under number \(number), and acquire again"
    switch subject {
    case .scope(let scope):
      let state = snapshot.state.scopes[scope]
      let reason = "number \(number) does not hold the scope; its newest number is \(state?.lastNumber ?? 0)"
      response.lost = core.refusal(reason, advice, state?.holder, snapshot)
    case .key(let key):
      let now = snapshot.state.store.current(key)
      let reason =
        switch now {
        case nil: "the key that was made at \(number) is gone"
        case let now? where now.createRevision == number: "the key stands in line behind older ones"
        case let now?:
          "the key that was made at \(number) is gone; the one in its place was made at \(now.createRevision)"
        }
      response.lost = core.refusal(reason, advice, nil, snapshot)
    case nil: break
    }
    _ = call.send(response)
    call.finish()
    closed()
  }

  private func fail(_ status: RPCStatus) {
    call.finish(status)
    closed()
  }

  /// Whoever has nothing more to say still wants to hear of the end.
  func halfClosed() {}
  func writable() {}

  func closed() {
    guard !isClosed else { return }
    isClosed = true
    stopObserving()
    stopObserving = {}
  }
}
