// Owns the model of a disk under a program: what the program sees, what is certainly on the disk, and what is on its way
// there and may or may not survive a power cut.
//
// It promises no more than POSIX does. A write is on its way until its file is flushed, or durable at its return where
// the descriptor is synchronous. A name that was made, moved or removed is on its way until its directory is flushed,
// whatever was flushed of the file. Length and data of a file are on their way separately.
//
// Invariant of a node: what is durable, with everything that is on its way applied in order, is what the program sees.

/// A change of a file that has not been flushed.
enum FileChange: Sendable {
  case write(position: Int, bytes: [UInt8], isDurable: Bool)
  case length(Int)
  /// Longer at least to here.
  case extent(Int)

  func apply(to content: inout [UInt8]) {
    switch self {
    case .write(let position, let bytes, _):
      guard !bytes.isEmpty else { return }
      let end = position + bytes.count
      if content.count < end { content.append(contentsOf: repeatElement(0, count: end - content.count)) }
      content.replaceSubrange(position..<end, with: bytes)
    case .length(let length):
      if length < content.count {
        content.removeLast(content.count - length)
      } else {
        content.append(contentsOf: repeatElement(0, count: length - content.count))
      }
    case .extent(let end):
      if content.count < end { content.append(contentsOf: repeatElement(0, count: end - content.count)) }
    }
  }
}

struct NodeID: Hashable, Comparable, Sendable {
  let rawValue: Int
  static func < (left: NodeID, right: NodeID) -> Bool { left.rawValue < right.rawValue }
}

/// A change of a name that has not been flushed.
struct NameChange: Sendable {
  struct Place: Sendable {
    var directory: NodeID
    var name: String
  }

  var place: Place
  /// nil removes the name.
  var node: NodeID?
  /// Where it was moved from: that name goes in the same instant.
  var removed: Place?

  var directories: [NodeID] {
    guard let removed, removed.directory != place.directory else { return [place.directory] }
    return [place.directory, removed.directory]
  }

  func apply(to entries: inout [String: NodeID], of directory: NodeID) {
    if let removed, removed.directory == directory { entries[removed.name] = nil }
    if place.directory == directory { entries[place.name] = node }
  }
}

struct Node: Sendable {
  enum Content: Sendable {
    case file(durable: [UInt8], seen: [UInt8], onTheWay: [FileChange])
    case directory(durable: [String: NodeID], seen: [String: NodeID], onTheWay: [NameChange])
  }

  var content: Content
  /// It is written through a mapping, which no call tells of.
  var isMapped = false

  static func file(_ bytes: [UInt8] = []) -> Node { Node(content: .file(durable: bytes, seen: bytes, onTheWay: [])) }
  static var directory: Node { Node(content: .directory(durable: [:], seen: [:], onTheWay: [])) }
}

package struct Disk: Sendable {
  private(set) var nodes: [Node] = [.directory]
  private var descriptors: [Int32: (node: NodeID, isSynchronous: Bool)] = [:]
  static let root = NodeID(rawValue: 0)

  /// A disk that certainly holds `image`.
  package init(_ image: DiskImage = DiskImage()) {
    for name in image.directories { addDurable(.directory, as: name) }
    for file in image.files { addDurable(.file(file.bytes), as: file.name) }
  }

  private mutating func addDurable(_ node: Node, as name: String) {
    guard let (parent, last) = place(of: name), case .directory(var durable, _, _) = nodes[parent.rawValue].content
    else { preconditionFailure("the image has \(name) and not its directory") }
    durable[last] = NodeID(rawValue: nodes.count)
    nodes[parent.rawValue].content = .directory(durable: durable, seen: durable, onTheWay: [])
    nodes.append(node)
  }

  // MARK: Names

  private func entries(of node: NodeID) -> [String: NodeID]? {
    if case .directory(_, let seen, _) = nodes[node.rawValue].content { return seen }
    return nil
  }

  /// The directory that `name` is in, and its last part.
  private func place(of name: String) -> (parent: NodeID, last: String)? {
    var node = Self.root
    var parts: [String] = []
    for part in name.split(separator: "/") {
      if part == ".." { _ = parts.popLast() } else { parts.append(String(part)) }
    }
    guard let last = parts.last else { return nil }
    for part in parts.dropLast() {
      guard let next = entries(of: node)?[part] else { return nil }
      node = next
    }
    return (node, last)
  }

  private func node(at name: String) -> NodeID? {
    guard let (parent, last) = place(of: name) else { return Self.root }
    return entries(of: parent)?[last]
  }

  /// A move from one directory to another is atomic, as file systems with a journal make it, and durable with the flush of
  /// the directory that it leads to.
  private mutating func change(_ name: String, to node: NodeID?, removing old: String? = nil) throws(RecordingError) {
    guard let (parent, last) = place(of: name), case .directory = nodes[parent.rawValue].content else {
      throw unknown(name)
    }
    var removed: NameChange.Place?
    if let old {
      guard let (oldParent, oldLast) = place(of: old) else { throw unknown(old) }
      removed = NameChange.Place(directory: oldParent, name: oldLast)
    }
    let change = NameChange(place: NameChange.Place(directory: parent, name: last), node: node, removed: removed)
    for directory in change.directories {
      guard case .directory(let durable, var seen, let onTheWay) = nodes[directory.rawValue].content else { continue }
      change.apply(to: &seen, of: directory)
      let mine = directory == parent ? onTheWay + [change] : onTheWay
      nodes[directory.rawValue].content = .directory(durable: durable, seen: seen, onTheWay: mine)
    }
  }

  private mutating func make(_ node: Node, as name: String) throws(RecordingError) -> NodeID {
    let id = NodeID(rawValue: nodes.count)
    nodes.append(node)
    try change(name, to: id)
    return id
  }

  private func unknown(_ name: String) -> RecordingError {
    RecordingError(description: "\"\(name)\" is named by a call and is not there")
  }

  // MARK: Calls

  /// Takes a call that has returned.
  package mutating func take(_ call: Call) throws(RecordingError) {
    switch call {
    case .open(let descriptor, let name, let flags): try open(descriptor, name, flags)
    case .close(let descriptor): descriptors[descriptor] = nil
    case .duplicate(let descriptor, let other): descriptors[other] = try known(descriptor)
    case .write(let descriptor, let position, let bytes):
      let (node, isSynchronous) = try known(descriptor)
      change(node, .write(position: position, bytes: bytes, isDurable: isSynchronous))
    case .truncate(let descriptor, let length): change(try known(descriptor).node, .length(length))
    case .allocate(let descriptor, let end): change(try known(descriptor).node, .extent(end))
    case .flush(let descriptor): flush(try known(descriptor).node)
    case .map(let descriptor): nodes[try known(descriptor).node.rawValue].isMapped = true
    case .rename(let from, let to):
      guard let node = node(at: from) else { throw unknown(from) }
      try change(to, to: node, removing: from)
    case .link(let from, let to):
      guard let node = node(at: from) else { throw unknown(from) }
      try change(to, to: node)
    case .unlink(let name), .removeDirectory(let name): try change(name, to: nil)
    case .makeDirectory(let name): _ = try make(.directory, as: name)
    case .mark: break
    }
  }

  private func known(_ descriptor: Int32) throws(RecordingError) -> (node: NodeID, isSynchronous: Bool) {
    guard let known = descriptors[descriptor] else {
      throw RecordingError(description: "descriptor \(descriptor) is used and was not opened")
    }
    return known
  }

  private mutating func open(_ descriptor: Int32, _ name: String, _ flags: OpenFlags) throws(RecordingError) {
    let node: NodeID
    if let existing = self.node(at: name) {
      node = existing
      if flags.contains(.truncates) { change(node, .length(0)) }
    } else {
      guard flags.contains(.creates) else { throw unknown(name) }
      node = try make(.file(), as: name)
    }
    descriptors[descriptor] = (node, flags.contains(.isSynchronous))
  }

  private mutating func change(_ node: NodeID, _ change: FileChange) {
    guard case .file(var durable, var seen, var onTheWay) = nodes[node.rawValue].content else { return }
    // Given up for the moment, so that the arrays are changed in place.
    nodes[node.rawValue].content = .file(durable: [], seen: [], onTheWay: [])
    change.apply(to: &seen)
    if case .write(_, _, isDurable: true) = change, onTheWay.isEmpty {
      change.apply(to: &durable)
    } else {
      onTheWay.append(change)
    }
    nodes[node.rawValue].content = .file(durable: durable, seen: seen, onTheWay: onTheWay)
  }

  private mutating func flush(_ node: NodeID) {
    switch nodes[node.rawValue].content {
    case .file(_, let seen, _): nodes[node.rawValue].content = .file(durable: seen, seen: seen, onTheWay: [])
    case .directory(var durable, let seen, let onTheWay):
      for change in onTheWay {
        change.apply(to: &durable, of: node)
        // The other end of a move is durable with it.
        for other in change.directories where other != node {
          guard case .directory(var theirs, let theirSeen, let theirWay) = nodes[other.rawValue].content else {
            continue
          }
          change.apply(to: &theirs, of: other)
          nodes[other.rawValue].content = .directory(durable: theirs, seen: theirSeen, onTheWay: theirWay)
        }
      }
      nodes[node.rawValue].content = .directory(durable: durable, seen: seen, onTheWay: [])
    }
  }

  /// The write that is about to be made, while a power cut may still tear it.
  func during(_ call: Call) throws(RecordingError) -> Disk? {
    guard case .write(let descriptor, let position, let bytes) = call, try known(descriptor).isSynchronous else {
      return nil
    }
    var disk = self
    disk.change(try known(descriptor).node, .write(position: position, bytes: bytes, isDurable: false))
    return disk
  }

  // MARK: Images

  /// What the program sees, but for files that it has mapped.
  package var seen: DiskImage {
    image { _, node in
      switch node.content {
      case .file(_, let seen, _): .file(seen)
      case .directory(_, let seen, _): .directory(seen)
      }
    }
  }

  enum Outcome {
    case file([UInt8])
    case directory([String: NodeID])
  }

  /// The image that comes from one outcome for each node. Mapped files are left out: what is in them is unknown.
  func image(_ outcome: (NodeID, Node) -> Outcome) -> DiskImage {
    let outcomes = nodes.enumerated().map { outcome(NodeID(rawValue: $0), $1) }
    var directories: [String] = []
    var files: [DiskImage.File] = []
    func visit(_ node: NodeID, _ name: String) {
      guard !nodes[node.rawValue].isMapped else { return }
      switch outcomes[node.rawValue] {
      case .file(let bytes): files.append(DiskImage.File(name: name, bytes: bytes))
      case .directory(let entries):
        if node != Self.root { directories.append(name) }
        for (part, next) in entries.sorted(by: { $0.key < $1.key }) {
          visit(next, name.isEmpty ? part : name + "/" + part)
        }
      }
    }
    visit(Self.root, "")
    return DiskImage(directories: directories, files: files)
  }
}
