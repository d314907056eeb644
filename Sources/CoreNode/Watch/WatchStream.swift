// One Watch stream with its watchers: etcd's protocol on one side, snapshots of the store on the other.
//
// Invariants, for each watcher: events are sent in the order of revisions, a whole revision at a time, none twice and
// none left out; `sentThrough` is the last revision of which the client has been sent everything that concerns it.

import CoordinationCore
import NIOCore
import Protocol
import Wire

/// `@unchecked Sendable`: everything but `mark`, which only hands over to the event loop, is called on the connection's
/// event loop.
final class WatchStream: @unchecked Sendable, StreamHandler, WatchObserver {
  private struct Watcher {
    let id: Int64
    let hubID: WatcherID
    let range: KeyRange
    let wantsPrevious: Bool
    let wantsPuts: Bool
    let wantsDeletes: Bool
    let wantsProgress: Bool
    let wantsFragments: Bool
    /// Whether an event went out since progress was last told of, so that the client knows anyway.
    var hasSent = false
    var sentThrough: Revision
    /// The first revision that may concern the watcher and was not sent yet.
    var dirtySince: Revision?
  }

  /// The most revisions in one answer, as in etcd, and the bytes after which an answer is sent off.
  private static let maxRevisionsPerAnswer = 1000
  private static let maxBytesPerAnswer = 512 * 1024

  private let call: StreamCall
  private let core: CoreAccess
  private let eventLoop: any EventLoop
  private var watchers: [Int64: Watcher] = [:]
  /// Watchers with something to send, in turn.
  private var queue: [Int64] = []
  private var nextWatch: Int64 = 0
  /// A progress answer that is owed, with the revision that it may speak of.
  private var progress: Revision?
  /// Tells idle watchers that ask for it how far they have come.
  private var progressTask: RepeatedTask?
  private var isClosed = false

  init(_ call: StreamCall, core: CoreAccess) {
    self.call = call
    self.core = core
    self.eventLoop = call.eventLoop
  }

  // MARK: From the hub

  func mark(_ marks: [(watch: Int64, revision: Revision)]) {
    eventLoop.execute { [self] in
      for (watch, revision) in marks { setDirty(watch, revision) }
      pump()
    }
  }

  private func setDirty(_ watch: Int64, _ revision: Revision) {
    guard var watcher = watchers[watch], revision > watcher.sentThrough else { return }
    if watcher.dirtySince == nil { queue.append(watch) }
    watcher.dirtySince = min(revision, watcher.dirtySince ?? revision)
    watchers[watch] = watcher
  }

  // MARK: From the client

  func received(_ message: ByteBuffer) {
    guard let request = call.decode(Etcdserverpb_WatchRequest.self, from: message) else { return close() }
    switch request.requestUnion {
    case .createRequest(let create): add(create)
    case .cancelRequest(let cancel): self.cancel(cancel.watchID, compactRevision: 0, reason: "")
    case .progressRequest:
      // Marks for changes up to this revision were handed to the event loop before now, so they run before the block
      // does: the answer cannot overtake an event (etcd#15220).
      let told = core.watches.revision
      eventLoop.execute { [self] in
        progress = told
        pump()
      }
    case nil: break
    }
  }

  /// A client that asks for nothing more still wants the events of what it watches, as with etcd.
  func halfClosed() {
    guard watchers.isEmpty else { return }
    call.finish(nil)
    close()
  }

  func writable() { pump() }
  func closed() { close() }

  private func close() {
    guard !isClosed else { return }
    isClosed = true
    for watcher in watchers.values { core.watches.remove(watcher.hubID) }
    watchers = [:]
    queue = []
    progressTask?.cancel()
  }

  private func add(_ request: Etcdserverpb_WatchCreateRequest) {
    if request.startRevision < 0 {
      return refuse(id: -1, "etcdserver: mvcc: required revision is negative; watch from 0 (now) or from a revision")
    }
    let key = request.key.isEmpty ? [0] : Bytes(request.key)
    let range = KeyRange(key: key, rangeEnd: Bytes(request.rangeEnd))
    if range.isEmpty { return refuse(id: -1, "mvcc: watcher range is empty") }
    // A refused request takes no number.
    let id = request.watchID != 0 ? request.watchID : unusedWatch()
    if watchers[id] != nil { return refuse(id: -1, "mvcc: duplicate watch ID provided on the WatchStream") }
    let (hubID, toldThrough) = core.watches.add(id, of: self, range: range)
    let start = request.startRevision > 0 ? request.startRevision : toldThrough + 1
    var watcher = Watcher(
      id: id, hubID: hubID, range: range, wantsPrevious: request.prevKv,
      wantsPuts: !request.filters.contains(.noput), wantsDeletes: !request.filters.contains(.nodelete),
      wantsProgress: request.progressNotify, wantsFragments: request.fragment, sentThrough: start - 1)
    if request.progressNotify { startTellingProgress() }
    var answer = response(id, revision: toldThrough)
    answer.created = true
    send(answer)
    if start <= toldThrough {
      watcher.dirtySince = start
      queue.append(id)
    }
    watchers[id] = watcher
    pump()
  }

  private func unusedWatch() -> Int64 {
    while watchers[nextWatch] != nil { nextWatch += 1 }
    defer { nextWatch += 1 }
    return nextWatch
  }

  private func refuse(id: Int64, _ reason: String) {
    var answer = response(id, revision: core.watches.revision)
    answer.created = true
    answer.canceled = true
    answer.cancelReason = reason
    send(answer)
  }

  private func cancel(_ id: Int64, compactRevision: Revision, reason: String) {
    guard let watcher = watchers.removeValue(forKey: id) else { return }
    core.watches.remove(watcher.hubID)
    queue.removeAll { $0 == id }
    // Where history was compacted, etcd says up to where and no other revision.
    var answer = response(id, revision: compactRevision > 0 ? 0 : core.watches.revision)
    answer.canceled = true
    answer.compactRevision = compactRevision
    answer.cancelReason = reason
    send(answer)
  }

  // MARK: To the client

  /// Sends what there is while the client has room, one answer for each watcher in turn.
  private func pump() {
    guard !isClosed else { return }
    let snapshot = core.publication.snapshot
    while call.isWritable, !queue.isEmpty {
      let id = queue.removeFirst()
      guard var watcher = watchers[id], let since = watcher.dirtySince else { continue }
      if since < snapshot.state.store.compactedRevision {
        cancel(id, compactRevision: snapshot.state.store.compactedRevision, reason: "")
        continue
      }
      let batch = collect(for: watcher, from: since, snapshot)
      watcher.sentThrough = batch.through
      watcher.dirtySince = batch.isComplete ? nil : batch.through + 1
      watchers[id] = watcher
      if !batch.isComplete { queue.append(id) }
      if !batch.events.isEmpty {
        watchers[id]?.hasSent = true
        var answer = response(id, revision: snapshot.state.revision)
        answer.events = batch.events
        let limit = watcher.wantsFragments ? core.configuration.limits.maxRequestBytes : .max
        for fragment in answer.fragments(limitBytes: limit) { send(fragment) }
      }
    }
    if let told = progress, queue.isEmpty, call.isWritable {
      progress = nil
      send(response(-1, revision: told))
    }
  }

  // MARK: Progress without being asked each time

  private func startTellingProgress() {
    guard progressTask == nil else { return }
    let interval = TimeAmount.milliseconds(core.configuration.limits.watchProgressMilliseconds)
    progressTask = eventLoop.scheduleRepeatedTask(initialDelay: interval, delay: interval) {
      [weak self] _ in self?.tellProgress()
    }
  }

  /// As for a progress request, the revision is taken first and spoken of after every mark up to it was heard.
  private func tellProgress() {
    let told = core.watches.revision
    eventLoop.execute { [self] in
      guard !isClosed else { return }
      for id in watchers.keys.sorted() {
        guard let watcher = watchers[id], watcher.wantsProgress else { continue }
        watchers[id]?.hasSent = false
        if !watcher.hasSent, watcher.dirtySince == nil, call.isWritable { send(response(id, revision: told)) }
      }
    }
  }

  private struct Batch {
    var events: [Mvccpb_Event] = []
    var through: Revision
    var isComplete = true
  }

  private func collect(for watcher: Watcher, from first: Revision, _ snapshot: Snapshot) -> Batch {
    let last = snapshot.state.revision
    var batch = Batch(through: max(last, watcher.sentThrough))
    var revisions = 0
    var bytes = 0
    snapshot.state.store.forEachRevision(from: first, through: last) { revision, events in
      if revisions >= Self.maxRevisionsPerAnswer || bytes >= Self.maxBytesPerAnswer {
        batch.through = revision - 1
        batch.isComplete = false
        return false
      }
      var isTouched = false
      for event in events where watcher.range.contains(event.version.key) {
        guard event.version.isTombstone ? watcher.wantsDeletes : watcher.wantsPuts else { continue }
        isTouched = true
        bytes += event.version.value.count + event.version.key.bytes.count
        batch.events.append(Mvccpb_Event(event, withPrevious: watcher.wantsPrevious))
      }
      if isTouched { revisions += 1 }
      return true
    }
    return batch
  }

  private func response(_ id: Int64, revision: Revision) -> Etcdserverpb_WatchResponse {
    var answer = Etcdserverpb_WatchResponse()
    answer.header = core.header(revision: revision, term: core.publication.snapshot.term)
    answer.watchID = id
    return answer
  }

  private func send(_ answer: Etcdserverpb_WatchResponse) {
    guard !isClosed else { return }
    _ = call.send(answer)
  }
}
