// A copy of a part of the store that keeps itself up to date: it lists, watches, resumes and lists again by itself.
//
// Invariants: every view is the state of its keys at one revision, as it was on the cluster; revisions of views never
// go back within one incarnation of the history (`epoch`). A view says what was, and how long ago that was confirmed:
// who decides about authority compares in a transaction or presents a token, and does not ask a mirror.

import HashTreeCollections
import NIOConcurrencyHelpers
import Protocol
import Wire

/// The keys of a mirror at one revision.
public struct MirrorView: Sendable {
  /// The revision at which the keys were as they are here. 0 before the first listing.
  public internal(set) var revision: Int64 = 0
  /// Counts the histories that this mirror has followed: it rises when the cluster was restored from a backup or another
  /// one took its place, and revisions of before mean nothing any more.
  public internal(set) var epoch = 0
  /// When it was last confirmed that nothing newer than `revision` existed; nil before the first time.
  public internal(set) var confirmed: ContinuousClock.Instant?
  /// Whether a watch is open. A view without one is growing old.
  public internal(set) var isFollowing = false
  var entries = TreeDictionary<[UInt8], KeyValue>()

  /// How many keys there are.
  public var count: Int { entries.count }

  /// A key as of this view.
  public subscript(key: String) -> KeyValue? { entries[Array(key.utf8)] }

  /// A key as of this view.
  public subscript(key: [UInt8]) -> KeyValue? { entries[key] }

  /// All keys in ascending order. It costs a sort.
  public var sorted: [KeyValue] { entries.values.sorted { $0.key.lexicographicallyPrecedes($1.key) } }

  /// Whether the view was the newest state no longer ago than this.
  public func isCurrent(within age: Duration) -> Bool {
    confirmed.map { $0.duration(to: .now) <= age } ?? false
  }
}

/// A mirror at work. Made by `Portcullis.withMirror`, and ends with it. Safe to share between tasks.
public final class Mirror: Sendable {
  private struct State {
    var view = MirrorView()
    var clusterID: UInt64 = 0
    var readers: [Int: AsyncStream<MirrorView>.Continuation] = [:]
    var nextReader = 0
    var isOver = false
  }

  /// What is mirrored.
  public let span: KeySpan
  private let state = NIOLockedValueBox(State())

  init(span: KeySpan) {
    self.span = span
  }

  /// The newest view.
  public var view: MirrorView { state.withLockedValue { $0.view } }

  /// The view of now, and each newer one. A reader that is slow skips views and never misses the newest.
  public var views: AsyncStream<MirrorView> {
    let (stream, continuation) = AsyncStream<MirrorView>.makeStream(bufferingPolicy: .bufferingNewest(1))
    let (reader, isOver) = state.withLockedValue { state -> (Int, Bool) in
      state.nextReader += 1
      if !state.isOver { state.readers[state.nextReader] = continuation }
      continuation.yield(state.view)
      return (state.nextReader, state.isOver)
    }
    if isOver { continuation.finish() }
    continuation.onTermination = { [weak self] _ in
      self?.state.withLockedValue { _ = $0.readers.removeValue(forKey: reader) }
    }
    return stream
  }

  /// The first view, from now on, that is at a revision or a later one: what another party wrote there is in it.
  /// - Returns: nil when the mirror or the calling task ended before.
  public func view(atLeast revision: Int64) async -> MirrorView? {
    for await view in views where view.revision >= revision { return view }
    return nil
  }

  /// Changes the view and shows it. Views are shown in the order in which they were made, hence under the lock.
  private func change(_ body: (inout State) -> Void) {
    state.withLockedValue { state in
      body(&state)
      for reader in state.readers.values { reader.yield(state.view) }
    }
  }

  func end() {
    let readers = state.withLockedValue { state in
      state.isOver = true
      state.view.isFollowing = false
      defer { state.readers = [:] }
      return Array(state.readers.values)
    }
    // Outside the lock: a stream that ends takes itself out of the list.
    for reader in readers { reader.finish() }
  }
}

// MARK: - What the cluster says

extension Mirror {
  /// Takes a whole listing, made at `asked` or later.
  func replace(_ pairs: [KeyValue], header: Etcdserverpb_ResponseHeader, asked: ContinuousClock.Instant) {
    change { state in
      let isOtherHistory =
        state.view.revision > header.revision || (state.clusterID != 0 && state.clusterID != header.clusterID)
      if isOtherHistory { state.view.epoch += 1 }
      state.clusterID = header.clusterID
      state.view.revision = header.revision
      state.view.confirmed = asked
      state.view.entries = TreeDictionary(uniqueKeysWithValues: pairs.map { ($0.key, $0) })
    }
  }

  /// Takes the events of an answer, which are whole revisions.
  func apply(_ events: [Mvccpb_Event]) {
    change { state in
      for event in events {
        let pair = KeyValue(event.kv)
        // A watch that begins again tells nothing twice, but a server's retry may.
        guard pair.modRevision > state.view.revision else { continue }
        state.view.entries[pair.key] = event.type == .delete ? nil : pair
      }
      state.view.revision = events.reduce(state.view.revision) { max($0, $1.kv.modRevision) }
    }
  }

  /// The stream has told everything up to a revision, which was the newest when it was asked for.
  func confirm(_ revision: Int64, asked: ContinuousClock.Instant?) {
    change { state in
      state.view.revision = max(state.view.revision, revision)
      if let asked { state.view.confirmed = asked }
    }
  }

  /// Whether a cluster is the one whose history is followed.
  func isOf(cluster id: UInt64) -> Bool { state.withLockedValue { $0.clusterID == id } }

  func follow(_ isFollowing: Bool) {
    change { $0.view.isFollowing = isFollowing }
  }
}
