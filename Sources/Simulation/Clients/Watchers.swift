// Owns the watchers: each follows all changes through some node, in slices, and goes on at another node when it must.
// Must never: take a revision twice, leave one out, or take a part of one.
// Invariant: what a watcher has seen is a contiguous stretch of what was committed, up to `seen`.

import CoordinationCore
import RaftCore

struct Watcher {
  var node: Int
  /// The last revision that it processed.
  var seen: Revision = 1
  /// Where it is in the list of all changes.
  var position = 0
}

extension Simulator {
  mutating func poll(_ watcher: Int) throws(Broken) {
    guard phase != .done else { return }
    queue.push(.watcher(watcher), afterMicroseconds: watcherChance.next(in: 20_000..<400_000))
    if watcherChance.chance(perMille: 50) || !nodes[watchers[watcher].node].isUp {
      watchers[watcher].node = watcherChance.next(below: nodes.count)
      reach(.watchResumedElsewhere)
    }
    let node = nodes[watchers[watcher].node]
    guard node.isUp, node.frozenUntil <= now else { return }
    let store = node.state.store
    let seen = watchers[watcher].seen
    if store.revision < seen { return reach(.watchBehindItsNode) }
    if store.compactedRevision > seen { return try resync(watcher, store) }
    try take(watcher, store)
  }

  /// What lies between was compacted: the watcher is told so, reads everything and goes on from there.
  private mutating func resync(_ watcher: Int, _ store: KeyStore) throws(Broken) {
    reach(.watchResumedAfterCompaction)
    watchers[watcher].seen = store.revision
    let changes = checker.state.changes
    var position = watchers[watcher].position
    while position < changes.count, changes[position].revision <= store.revision { position += 1 }
    watchers[watcher].position = position
  }

  private mutating func take(_ watcher: Int, _ store: KeyStore) throws(Broken) {
    var room = 1 + watcherChance.next(below: 40)
    var position = watchers[watcher].position
    var seen = watchers[watcher].seen
    let changes = checker.state.changes
    var broken: Broken?
    var skips = options.plantedBug == .watchSkipsRevision && watcherChance.chance(perMille: 20)
    store.forEachRevision(from: seen + 1, through: store.revision) { revision, events in
      if skips {
        skips = false
        return true
      }
      guard position < changes.count, changes[position].revision == revision,
        changes[position].digest == events.digest
      else {
        broken = Broken(
          "a watch is a contiguous slice of the log",
          "watcher \(watcher + 1) got revision \(revision) after \(seen), next is "
            + "\(position < changes.count ? changes[position].revision : 0)")
        return false
      }
      position += 1
      seen = revision
      watchEvents += events.count
      room -= 1
      return room > 0
    }
    if let broken { throw broken }
    // The end of what this node has: nothing up to its revision was left out.
    if room > 0 {
      guard position == changes.count || changes[position].revision > store.revision else {
        throw Broken(
          "a watch is a contiguous slice of the log",
          "watcher \(watcher + 1) was told nothing of \(changes[position].revision) by a node at \(store.revision)")
      }
      seen = store.revision
    }
    if options.plantedBug == .watchResumesFromHeader { seen = store.revision }
    watchers[watcher].position = position
    watchers[watcher].seen = seen
  }
}
