// One Observe stream: who leads, then everything that this leader proclaims, then who leads next.
//
// Invariant: of one leader every value is sent, in order, unless a compaction took it. Between two looks leaders may have
// come and gone: those are not seen, as with etcd.

import CoordinationCore
import NIOCore
import Protocol
import Wire

/// `@unchecked Sendable`: everything but `mark` is called on the connection's event loop.
final class ObserveStream: @unchecked Sendable, StreamHandler, WatchObserver {
  private struct Leader {
    let key: Key
    var sentThrough: Revision
  }

  private let call: StreamCall
  private let core: CoreAccess
  private var line: Line?
  private var watcher: WatcherID?
  private var leader: Leader?
  /// The first revision that may concern the line and was not looked at.
  private var dirtySince: Revision?
  /// The newest thing that was sent: where history was compacted, it may be met again.
  private var sent: KeyVersion?
  private var isClosed = false

  init(_ call: StreamCall, core: CoreAccess) {
    self.call = call
    self.core = core
  }

  func mark(_ marks: [(watch: Int64, revision: Revision)]) {
    guard let first = marks.map(\.revision).min() else { return }
    call.eventLoop.execute { [self] in
      dirtySince = min(first, dirtySince ?? first)
      pump()
    }
  }

  func received(_ message: ByteBuffer) {
    guard line == nil else {
      call.finish(RPCStatus(code: .internalError, message: "one message says what to observe, and this is a second"))
      return closed()
    }
    guard let request = call.decode(V3electionpb_LeaderRequest.self, from: message) else { return closed() }
    let line = Line(name: request.name)
    self.line = line
    core.readLinearizably(on: call.eventLoop) { [self] result in
      guard !isClosed else { return }
      do throws(RPCStatus) {
        try check(line, result)
      } catch {
        call.finish(error)
        return closed()
      }
      watcher = core.watches.add(0, of: self, range: line.range).id
      pump()
    }
  }

  private func check(_ line: Line, _ result: Result<Snapshot, ReadFailure>) throws(RPCStatus) {
    switch result {
    case .failure(let failure): throw RPCStatus(failure)
    case .success(let snapshot):
      do throws(RequestError) {
        try core.checkRead(line.range, by: call, in: snapshot)
      } catch {
        throw RPCStatus(error)
      }
    }
  }

  /// The caller has nothing more to ask and waits for answers.
  func halfClosed() {}
  func writable() { pump() }

  func closed() {
    isClosed = true
    if let watcher { core.watches.remove(watcher) }
    watcher = nil
  }

  private func pump() {
    guard !isClosed, watcher != nil, let line else { return }
    let snapshot = core.publication.snapshot
    while call.isWritable {
      if let following = leader {
        guard follow(following, snapshot) else { return }
      } else {
        guard let first = line.first(in: snapshot) else { return }
        leader = Leader(key: first.key, sentThrough: snapshot.state.revision)
        let isRepeat = sent?.key == first.key && sent?.modRevision == first.modRevision
        if !isRepeat { send(first, revision: snapshot.state.revision, snapshot) }
      }
    }
  }

  /// Sends the next thing that the leader proclaimed; false if there is none.
  private func follow(_ following: Leader, _ snapshot: Snapshot) -> Bool {
    guard let dirtySince else { return false }
    // What happened to others since then is not looked through, and may be compacted.
    let first = max(dirtySince, following.sentThrough + 1)
    guard first >= snapshot.state.store.compactedRevision else {
      leader = nil
      return true
    }
    var found: KeyVersion?
    snapshot.state.store.forEachRevision(from: first, through: snapshot.state.revision) { _, events in
      found = events.last { $0.version.key == following.key }?.version
      return found == nil
    }
    guard let found else {
      leader?.sentThrough = max(snapshot.state.revision, following.sentThrough)
      self.dirtySince = nil
      return false
    }
    leader?.sentThrough = found.modRevision
    if found.isTombstone {
      leader = nil
    } else {
      send(found, revision: found.modRevision, snapshot)
    }
    return true
  }

  private func send(_ version: KeyVersion, revision: Revision, _ snapshot: Snapshot) {
    sent = version
    var response = V3electionpb_LeaderResponse()
    response.header = core.header(revision: revision, term: snapshot.term)
    response.kv = Mvccpb_KeyValue(version)
    _ = call.send(response)
  }
}
