// Owns the making of a log. LMDB writes the first pages of a new file without a flush, and refuses a file in which they
// are not whole: a power cut during the very first start would leave a directory that no later start accepts. So the
// tree is made in a directory of its own beside, and moved to its place when it is durable.
//
// It must never touch a tree that is in its place.
//
// Invariant: a `data.mdb` in its place has its identity durably in it.

import Glibc

extension LogStorage {
  private static let draftName = "new"

  static func makeTree(_ identity: Identity, in path: String, options: Options) throws(StorageError) {
    let draft = path + "/" + draftName
    try removeDraft(draft)
    guard try LogDirectory.dataFileBytes(in: path) == nil else { return }
    // The journal is made later than the tree.
    guard !Journal.exists(in: path) else {
      throw .corruptFile(reason: "\(path) has a journal and no \(LogDirectory.dataFileName)")
    }
    guard mkdir(draft, 0o700) == 0 else { throw .fromSystem(errno, operation: "making", path: draft) }
    let environment = try Environment(path: draft, access: .readingAndWriting, options: options)
    try create(identity, in: environment)
    environment.close()
    let (from, to) = (draft + "/" + LogDirectory.dataFileName, path + "/" + LogDirectory.dataFileName)
    guard rename(from, to) == 0 else { throw .fromSystem(errno, operation: "moving", path: from) }
    try LogDirectory.sync(path)
    try removeDraft(draft)
  }

  /// What a start left that ended before its tree was in its place.
  private static func removeDraft(_ draft: String) throws(StorageError) {
    for path in [draft + "/" + LogDirectory.dataFileName, draft + "/lock.mdb"] {
      guard unlink(path) == 0 || errno == ENOENT else { throw .fromSystem(errno, operation: "removing", path: path) }
    }
    guard rmdir(draft) == 0 || errno == ENOENT else { throw .fromSystem(errno, operation: "removing", path: draft) }
  }
}
