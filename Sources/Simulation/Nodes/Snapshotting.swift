// Owns what a driver does with snapshots: taking, sending, staging, installing, and compacting behind them.
// Must never: report one durable or ready that is not.
// Invariant: the state becomes a snapshot's exactly when the core says so, and not before.

import CoordinationCore
import RaftCore

extension Simulator {
  // MARK: Taking

  mutating func considerSnapshot(_ node: SimulatedNode) {
    let every = world.disk.snapshotEveryEntries
    guard every > 0, !node.isTakingSnapshot, node.applied.distance(from: node.lastSnapshot) >= every else { return }
    // A full disk has no room for one.
    guard !node.disk.isFull, var membership = node.raft?.membership(at: node.applied) else { return }
    // One that was added knows the members only from where the log first names them.
    guard !membership.voters.isEmpty else { return }
    if options.plantedBug == .snapshotMembershipWrong, let last = membership.voters.last, membership.voters.count > 1 {
      membership = Membership(voters: membership.voters.filter { $0 != last })
    }
    let point = SnapshotPoint(
      index: node.applied, term: node.appliedTerm, clockMilliseconds: node.appliedClock, membership: membership)
    node.isTakingSnapshot = true
    node.lastSnapshot = node.applied
    queue.push(
      .snapshotWritten(node: node.position, life: node.life, point, node.state),
      afterMicroseconds: diskChance.next(in: 1..<(8 * world.disk.flushMicroseconds)))
  }

  mutating func snapshotWritten(_ node: SimulatedNode, _ point: SnapshotPoint, _ state: Coordination) throws(Broken) {
    node.isTakingSnapshot = false
    // One that came from the leader meanwhile is newer.
    guard point.index >= node.disk.durable.base.index else { return }
    let bytes = SnapshotCodec.encode(state)
    let description = SnapshotDescription(
      point: point, totalBytes: UInt64(bytes.count), checksum: Checksum.short(bytes))
    try checker.snapshot(description, of: node, digest: Checksum.of(bytes))
    node.disk.add(SnapshotFile(description: description, bytes: bytes))
    reach(.snapshotTaken)
    mix(point.index.rawValue)
    trace.record(.note("\(node.id) has a snapshot at \(point.index), \(bytes.count) bytes"), at: now)
    give(node, .snapshotTaken(point))
  }

  mutating func compact(_ node: SimulatedNode, before first: RaftCore.Index) throws(Broken) {
    guard first > node.disk.durable.base.index.next else { return }
    // A node does not know of rot before it reads the file again.
    guard let newest = node.disk.snapshots.map(\.description.point.index).max() else {
      throw Broken("a log is only cut behind a snapshot", "\(node.id) cuts before \(first) and has no snapshot")
    }
    guard first.previous <= newest else {
      throw Broken(
        "a log is only cut behind a snapshot", "\(node.id) cuts before \(first), its snapshot is at \(newest)")
    }
    reach(.logCompacted)
    node.disk.compact(before: first)
  }

  // MARK: Sending

  mutating func snapshotRead(_ node: SimulatedNode, _ request: SnapshotRead) throws(Broken) {
    var file = node.disk.snapshots.last
    if let wanted = request.description { file = node.disk.snapshots.last { $0.description == wanted } }
    guard let file else { return give(node, .snapshotRead(request, nil)) }
    // Chunks carry sums of their own: a rotten one is found when it is read, and the process ends.
    if file.isRotten { return try foundRot(node) }
    reach(.snapshotSent)
    if request.offset > 0 { reach(.snapshotTransferResumed) }
    let start = min(Int(request.offset), file.bytes.count)
    let end = min(start + request.maxBytes, file.bytes.count)
    let chunk = SnapshotChunk(
      description: file.description, offset: request.offset, bytes: Array(file.bytes[start..<end]))
    give(node, .snapshotRead(request, chunk))
  }

  // MARK: Receiving

  mutating func stage(_ chunk: SnapshotChunk, at node: SimulatedNode) {
    if node.staging?.description != chunk.description {
      if node.staging != nil { reach(.snapshotReplacedWhileSent) }
      node.staging = SimulatedNode.Staging(description: chunk.description, bytes: [])
    }
    guard var staging = node.staging else { return }
    // What follows on what is there is taken; a repeated or a later stretch says only how far it is.
    if chunk.offset <= UInt64(staging.bytes.count), chunk.end > UInt64(staging.bytes.count) {
      staging.bytes += chunk.bytes[(staging.bytes.count - Int(chunk.offset))...]
    }
    node.staging = staging
    let through = UInt64(staging.bytes.count)
    give(node, .snapshotStaged(chunk.description, through: through))
    guard through == chunk.description.totalBytes, !staging.isChecked else { return }
    node.staging?.isChecked = true
    queue.push(
      .snapshotChecked(node: node.position, life: node.life, chunk.description),
      afterMicroseconds: diskChance.next(in: 1..<(4 * world.disk.flushMicroseconds)))
  }

  mutating func snapshotChecked(_ node: SimulatedNode, _ description: SnapshotDescription) throws(Broken) {
    guard let staging = node.staging, staging.description == description else { return }
    node.staging = nil
    guard Checksum.short(staging.bytes) == description.checksum,
      let state = try? SnapshotCodec.decode(staging.bytes)
    else {
      throw Broken("a snapshot arrives as it was sent", "\(node.id) got another one at \(description.point.index)")
    }
    try checker.received(description, by: node, digest: SnapshotCodec.digest(state))
    node.disk.add(SnapshotFile(description: description, bytes: staging.bytes))
    node.prepared = (description, state)
    give(node, .snapshotReady(description))
  }

  mutating func install(_ description: SnapshotDescription, at node: SimulatedNode) throws(Broken) {
    guard let prepared = node.prepared, prepared.description == description else {
      throw Broken("only what was reported ready is installed", "\(node.id) installs \(description.point.index)")
    }
    // The log begins behind it, or holds its last entry and what follows.
    guard node.disk.written.term(at: description.point.index) == description.point.term else {
      throw Broken(
        "an installed snapshot is in the log's place",
        "\(node.id) installs \(description.point.index), its log has \(node.disk.written.base.index.next) through "
          + "\(node.disk.written.lastIndex)")
    }
    guard description.point.index > node.applied else {
      throw Broken("what is applied stays applied", "\(node.id) goes back from \(node.applied)")
    }
    node.prepared = nil
    node.state = prepared.state
    node.applied = description.point.index
    node.appliedTerm = description.point.term
    node.appliedClock = description.point.clockMilliseconds
    node.lastSnapshot = node.applied
    reach(.snapshotInstalled)
    mix(description.point.index.rawValue)
    trace.record(.note("\(node.id) becomes the snapshot at \(description.point.index)"), at: now)
    // Notices of what was skipped are never given here: who waits at this node has to ask again.
    node.waits.removeAll()
    try settleHeld(at: node)
    if options.plantedBug == .applySkippedAfterInstall { node.skipsNext = true }
    node.inputs.append(.applied(through: node.applied))
  }
}
