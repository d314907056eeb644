// One Watch stream with its watchers: etcd's protocol on one side, snapshots of the store on the other.
//
// Invariants, for each watcher: events are sent in the order of revisions, a whole revision at a time, none twice and
// none left out; `sentThrough` is the last revision of which the client has been sent everything that concerns it.
//
// What waits for a watcher is a revision in `near` or in `behind`, never an event, and a pass over the store's log serves
// all that wait (WatchPass.swift). A client that takes nothing for too long while events wait loses the watchers
// concerned, and is told from where to make them again.

import CoordinationCore
import NIOCore
import Protocol
import Wire

/// `@unchecked Sendable`: everything but `mark`, which only hands over to the event loop, is called on the connection's
/// event loop.
final class WatchStream: @unchecked Sendable, StreamHandler, WatchObserver {
  struct Watcher {
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
    /// The first revision that the client wants: it may be one that is yet to come.
    let start: Revision
    var sentThrough: Revision
  }

  private let call: StreamCall
  private let core: CoreAccess
  private let eventLoop: any EventLoop
  private var watchers: [Int64: Watcher] = [:]
  /// The same by what they watch, so that a pass looks at those alone whom an event concerns.
  private var index = WatchIndex()
  /// Watchers with something to send, and the first revision of it: those that were up to date when it happened, and those
  /// that asked for history and are not through with it. Apart, so that history does not hold up what happens now.
  private var near: [Int64: Revision] = [:]
  private var behind: [Int64: Revision] = [:]
  /// Sending can make room at once, and so ask for more while a pass is still being sent.
  private var isPumping = false
  private var isPumpScheduled = false
  /// Runs out when the client has taken nothing for too long while something waited for it.
  private var patience: Scheduled<Void>?
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
    // One that is behind comes by this revision on its way.
    guard let watcher = watchers[watch], behind[watch] == nil else { return }
    // A mark names the first of the revisions that concern the watcher. Where that is before its start, others of the same
    // mark may not be.
    guard revision > watcher.sentThrough || watcher.sentThrough < watcher.start else { return }
    let first = max(revision, watcher.sentThrough + 1)
    near[watch] = min(first, near[watch] ?? first)
  }

  // MARK: From the client

  func received(_ message: ByteBuffer) {
    guard let request = call.decode(Etcdserverpb_WatchRequest.self, from: message) else { return close() }
    switch request.requestUnion {
    case .createRequest(let create): add(create)
    case .cancelRequest(let cancel): self.cancel(cancel.watchID)
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

  func writable() {
    patience?.cancel()
    patience = nil
    pump()
  }

  func closed() { close() }

  private func close() {
    guard !isClosed else { return }
    isClosed = true
    for watcher in watchers.values { core.watches.remove(watcher.hubID) }
    watchers = [:]
    index = WatchIndex()
    (near, behind) = ([:], [:])
    progressTask?.cancel()
    patience?.cancel()
  }

  private func add(_ request: Etcdserverpb_WatchCreateRequest) {
    if request.startRevision < 0 {
      return refuse(id: -1, "etcdserver: mvcc: required revision is negative; watch from 0 (now) or from a revision")
    }
    let key = request.key.isEmpty ? [0] : Bytes(request.key)
    let range = KeyRange(key: key, rangeEnd: Bytes(request.rangeEnd))
    if core.publication.isAuthEnabled {
      do throws(RequestError) {
        try core.checkRead(range, by: call, in: core.publication.snapshot)
      } catch {
        return refuse(id: -1, RPCStatus(error).goText)
      }
    }
    if range.isEmpty { return refuse(id: -1, "mvcc: watcher range is empty") }
    if watchers[request.watchID] != nil, request.watchID != 0 {
      return refuse(id: -1, "mvcc: duplicate watch ID provided on the WatchStream")
    }
    let most = core.configuration.limits.maxWatchers
    guard core.watches.count < most else {
      return refuse(id: -1, "etcdserver: too many watchers: this node has \(most); watch at another member")
    }
    // A refused request takes no number.
    let id = request.watchID != 0 ? request.watchID : unusedWatch()
    let (hubID, toldThrough) = core.watches.add(id, of: self, range: range)
    let start = request.startRevision > 0 ? request.startRevision : toldThrough + 1
    let watcher = Watcher(
      id: id, hubID: hubID, range: range, wantsPrevious: request.prevKv,
      wantsPuts: !request.filters.contains(.noput), wantsDeletes: !request.filters.contains(.nodelete),
      wantsProgress: request.progressNotify, wantsFragments: request.fragment, start: start,
      sentThrough: start - 1)
    if request.progressNotify { startTellingProgress() }
    var answer = response(id, revision: toldThrough)
    answer.created = true
    send(answer)
    watchers[id] = watcher
    index.insert(Self.indexID(id), range: range)
    guard start <= toldThrough else { return }
    behind[id] = start
    // Others that are asked for in the same breath share the pass.
    pumpLater()
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

  /// In this stream's own index watchers go by the number that they have with the client.
  private static func indexID(_ watch: Int64) -> WatcherID { WatcherID(UInt64(bitPattern: watch)) }

  private func cancel(_ id: Int64, compactRevision: Revision = 0, resumeRevision: Revision = 0, reason: String = "") {
    guard let watcher = watchers.removeValue(forKey: id) else { return }
    core.watches.remove(watcher.hubID)
    index.remove(Self.indexID(id), range: watcher.range)
    near[id] = nil
    behind[id] = nil
    // Where history was compacted, etcd says up to where and no other revision.
    var answer = response(id, revision: compactRevision > 0 ? 0 : core.watches.revision)
    answer.canceled = true
    answer.compactRevision = compactRevision
    answer.resumeRevision = resumeRevision
    answer.cancelReason = reason
    send(answer)
  }

  /// Whoever is not read from costs nothing, but a client that went to sleep with an open connection must learn of it: it
  /// would otherwise hear of the compaction that overtakes it and never of why.
  private func cancelTheSlow() {
    patience = nil
    guard !isClosed, !call.isWritable else { return pump() }
    let seconds = Double(core.configuration.limits.slowWatcherMilliseconds) / 1000
    for (id, since) in near.merging(behind, uniquingKeysWith: min).sorted(by: { $0.key < $1.key }) {
      cancel(
        id, resumeRevision: since,
        reason: "etcdserver: watcher is too slow: its client took nothing for \(seconds) s while events waited; "
          + "watch again from revision \(since)")
    }
  }

  // MARK: To the client

  /// Sends what there is while the client has room. Each pass is bounded, and the event loop's other connections have their
  /// turn between two.
  private func pump() {
    guard !isClosed, !isPumping else { return }
    isPumping = true
    let snapshot = core.publication.snapshot
    if !near.isEmpty, call.isWritable { near = serve(near, snapshot) }
    if !behind.isEmpty, call.isWritable { behind = serve(behind, snapshot) }
    isPumping = false
    guard !isClosed else { return }
    guard near.isEmpty, behind.isEmpty else { return pumpLater() }
    if let told = progress, call.isWritable {
      progress = nil
      send(response(-1, revision: told))
    }
  }

  private func pumpLater() {
    if call.isWritable {
      guard !isPumpScheduled else { return }
      isPumpScheduled = true
      eventLoop.execute { [self] in
        isPumpScheduled = false
        pump()
      }
    } else if patience == nil {
      let time = TimeAmount.milliseconds(core.configuration.limits.slowWatcherMilliseconds)
      patience = eventLoop.assumeIsolated().scheduleTask(in: time) { [self] in cancelTheSlow() }
    }
  }

  /// One pass for watchers that wait from some revision on: each is sent what the pass has for it, or stays where it was when
  /// the client takes no more.
  /// - Returns: who waits now.
  private func serve(_ group: [Int64: Revision], _ snapshot: Snapshot) -> [Int64: Revision] {
    var waiting = group
    let compacted = snapshot.state.store.compactedRevision
    for id in waiting.filter({ $0.value < compacted }).keys.sorted() {
      waiting[id] = nil
      cancel(id, compactRevision: compacted)
    }
    // Whoever watches from a revision to come is marked again when it is there.
    waiting = waiting.filter { $0.value <= snapshot.state.revision }
    guard let first = waiting.values.min() else { return waiting }
    let pass = WatchPass(snapshot, from: first) { key, body in
      index.forEachWatcher(of: key) { id in
        let id = Int64(bitPattern: id.value)
        if let watcher = watchers[id], let since = waiting[id] { body(watcher, since) }
      }
    }
    // Those that have waited longest first.
    let order = pass.places.keys.sorted { (waiting[$0] ?? 0, $0) < (waiting[$1] ?? 0, $1) }
    let unsent = Set(order.dropFirst(send(pass, to: order, snapshot)))
    guard !isClosed else { return [:] }
    for (id, since) in waiting where since <= pass.through && !unsent.contains(id) {
      watchers[id]?.sentThrough = pass.through
      waiting[id] = pass.through < snapshot.state.revision ? pass.through + 1 : nil
    }
    return waiting
  }

  /// What leaves in one frame.
  private static let maxGatheredBytes = 64 * 1024

  /// Sends watchers what a pass has for them while the client has room. Many watch the same, and their answers differ by
  /// the watcher's number alone: the rest is encoded once.
  /// - Returns: how many of them were served.
  private func send(_ pass: WatchPass, to order: [Int64], _ snapshot: Snapshot) -> Int {
    var gathered = GatheredMessages()
    var (places, shared): ([Int], ByteBuffer?) = ([], nil)
    var answer = response(0, revision: snapshot.state.revision)
    var served = 0
    for id in order {
      guard served > 0 || call.isWritable, let watcher = watchers[id], let wanted = pass.places[id] else { break }
      if wanted != places {
        answer.events = wanted.map { pass.events[$0] }
        (places, shared) = (wanted, answer.encoded())
      }
      let limit = core.configuration.limits.maxRequestBytes
      if watcher.wantsFragments, shared.map({ $0.readableBytes > limit }) ?? true {
        var whole = answer
        whole.watchID = id
        for fragment in whole.fragments(limitBytes: limit) {
          guard let bytes = fragment.encoded() else { return giveUp(served) }
          gathered.append(bytes, [])
        }
      } else {
        guard let shared else { return giveUp(served) }
        gathered.append(shared, Etcdserverpb_WatchResponse.watchIDField(id))
      }
      watchers[id]?.hasSent = true
      served += 1
      guard gathered.bytes >= Self.maxGatheredBytes else { continue }
      let goesOn = call.send(gathered)
      gathered = GatheredMessages()
      if !goesOn { break }
    }
    _ = call.send(gathered)
    return served
  }

  /// A revision that deleted gigabytes can be more than a message holds.
  private func giveUp(_ served: Int) -> Int {
    call.finish(
      RPCStatus(
        .resourceExhausted, "etcdserver: the events of one revision are too large for a message; watch with fragment"))
    close()
    return served
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
        // Of a revision before its start a watcher is not told: it asked for nothing that old (etcd#20221).
        guard let watcher = watchers[id], watcher.wantsProgress, told + 1 >= watcher.start else { continue }
        watchers[id]?.hasSent = false
        let isWaiting = near[id] != nil || behind[id] != nil
        if !watcher.hasSent, !isWaiting, call.isWritable { send(response(id, revision: told)) }
      }
    }
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
