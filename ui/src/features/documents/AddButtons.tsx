import { FilePlus2, FolderPlus, FolderUp, FolderSearch } from 'lucide-react'
import { useState } from 'react'

import { asApiError } from '../../api/errors'
import { Button } from '../../components/Button'
import { Menu, MenuItem } from '../../components/Menu'
import { NameDialog } from '../../components/NameDialog'
import { useI18n } from '../../lib/i18n'
import { usePlatform, type Picked } from '../../platform'
import { useAddDocuments } from './add'

export function AddButtons({ workspace }: { workspace: string }) {
  const { t } = useI18n()
  const platform = usePlatform()
  const add = useAddDocuments(workspace)
  const [asking, setAsking] = useState(false)

  const pick = async (picking: Promise<Picked | null>) => {
    const picked = await picking
    if (picked) await add(picked)
  }
  const folder = (
    <Button
      look="primary"
      icon={<FolderPlus size={16} aria-hidden />}
      {...(platform.folderPicker === 'path' && {
        onClick: () => void pick(platform.pickFolder()),
      })}
    >
      {t('documents.addFolder')}
    </Button>
  )
  return (
    <>
      {platform.folderPicker === 'path' ? (
        folder
      ) : (
        <Menu trigger={folder}>
          <MenuItem icon={<FolderSearch size={16} />} onSelect={() => setAsking(true)}>
            {t('documents.addFolderPath')}
          </MenuItem>
          <MenuItem
            icon={<FolderUp size={16} />}
            onSelect={() => void pick(platform.pickFolder())}
          >
            {t('documents.uploadFolder')}
          </MenuItem>
        </Menu>
      )}
      <Button
        icon={<FilePlus2 size={16} aria-hidden />}
        onClick={() => void pick(platform.pickFiles())}
      >
        {t('documents.addFiles')}
      </Button>
      <NameDialog
        open={asking}
        onOpenChange={setAsking}
        title={t('documents.addFolderPath')}
        description={t('documents.folderPathHint')}
        label={t('documents.folderPath')}
        placeholder="/home/…"
        action={t('documents.folderPathSubmit')}
        onSubmit={(path) => add({ kind: 'paths', paths: [path] })}
        describeError={(error) => asApiError(error).message}
      />
    </>
  )
}
